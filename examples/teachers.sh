#!/usr/bin/env bash
# Trains teachers, which are wider and have other seeds and cells, then the network that learns from them beside the
# text (docs/training.md). After an interruption start it again: a run that was stopped or killed continues, and those
# that are complete are left alone. The commands of nextchar must be on the PATH (`make install`, then
# `. .venv/bin/activate`).
#
#   examples/teachers.sh CORPUS [FOLDER]      FOLDER (default: runs/taught) gets teacher-1, …, student and student.onnx
#
# JOBS (2) trainings run at a time, each with one thread; those of teachers write to FOLDER/teacher-1.log, …
# BUDGET (--epochs 14) is that of each training; for a longer text fewer epochs, or --minutes, may suit better. CELLS
# (lstm lstm lstm gru) are those of the teachers, and TEACHER_OPTIONS and STUDENT_OPTIONS replace the options below.
set -euo pipefail
corpus=${1:?name a corpus}
folder=${2:-runs/taught}
jobs=${JOBS:-2}
read -ra cells <<< "${CELLS:-lstm lstm lstm gru}"
read -ra teacher <<< "${TEACHER_OPTIONS:---hidden-size 768 --learning-rate 0.005 --dropout 0.5 --weight-decay 0.3}"
read -ra student <<< "${STUDENT_OPTIONS:---hidden-size 512}"
read -ra budget <<< "${BUDGET:---epochs 14}"

# Each training has its own process group (-m), so that Ctrl-C reaches this script alone, which then asks them to stop
# and waits until they have saved their progress.
set -m
trap 'trap "" INT TERM HUP; kill $(jobs -p) 2> /dev/null || true; wait' EXIT
trap 'exit 130' INT TERM HUP

train() { # RUN OPTIONS…
  local run=$1
  shift
  if [[ -e $run/stopped.pt ]]; then
    exec nextchar-train resume "$run"
  elif [[ ! -e $run/report.md ]]; then # a complete run has a report
    exec nextchar-train fit "$corpus" --out "$run" --overwrite --threads 1 "$@"
  fi
}

finish() { # PID RUN
  wait "$1" || { echo "$2: not trained" >&2; exit 1; }
}

mkdir -p "$folder"
running=()
teachers=()
for number in $(seq ${#cells[@]}); do
  run=$folder/teacher-$number
  if ((number > jobs)); then finish "${running[number - jobs]}" "$folder/teacher-$((number - jobs))"; fi
  echo "$run: $run.log tells how far it is"
  train "$run" "${teacher[@]}" "${budget[@]}" --cell "${cells[number - 1]}" --seed $((number + 1)) >> "$run.log" 2>&1 &
  running[number]=$!
  teachers+=(--teacher "$run/last.pt")
done
for number in "${!running[@]}"; do finish "${running[number]}" "$folder/teacher-$number"; done
train "$folder/student" "${student[@]}" "${budget[@]}" "${teachers[@]}" &
finish $! "$folder/student"
nextchar-train export "$folder/student/last.pt" --out "$folder/student.onnx"
