#!/usr/bin/env bash
# Trains teachers, which are wider and have other seeds and cells, then the network that learns from them beside the
# text (docs/training.md). After an interruption start it again: a run that was stopped or killed continues, and those
# that are complete are left alone. The commands of nextchar must be on the PATH (`make install`, then
# `. .venv/bin/activate`).
#
#   examples/teachers.sh CORPUS [FOLDER]      FOLDER (default: runs/taught) gets teacher-1, …, student and student.onnx
#
# BUDGET (--minutes 30) is that of each training, CELLS (lstm lstm gru) are those of the teachers, and OPTIONS,
# TEACHER_OPTIONS and STUDENT_OPTIONS replace the options below.
set -euo pipefail
corpus=${1:?name a corpus}
folder=${2:-runs/taught}
read -ra cells <<< "${CELLS:-lstm lstm gru}"
read -ra common <<< "${BUDGET:---minutes 30} ${OPTIONS:---processes 2 --threads 1 --averaging-period 16}"
read -ra teacher <<< "${TEACHER_OPTIONS:---hidden-size 768 --learning-rate 0.005 --dropout 0.5 --weight-decay 0.3}"
read -ra student <<< "${STUDENT_OPTIONS:---hidden-size 512}"

train() { # RUN OPTIONS…
  local run=$1
  shift
  if [[ -e $run/stopped.pt ]]; then
    nextchar-train resume "$run"
  elif [[ ! -e $run/report.md ]]; then # a complete run has a report
    nextchar-train fit "$corpus" --out "$run" --overwrite "${common[@]}" "$@"
  fi
}

teachers=()
for number in $(seq ${#cells[@]}); do
  run=$folder/teacher-$number
  train "$run" "${teacher[@]}" --cell "${cells[number - 1]}" --seed $((number + 1))
  teachers+=(--teacher "$run")
done
train "$folder/student" "${student[@]}" "${teachers[@]}"
nextchar-train export "$folder/student" --out "$folder/student.onnx"
