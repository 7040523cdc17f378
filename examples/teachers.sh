#!/usr/bin/env bash
# Trains teachers, which are wider and have other seeds and cells, then the network that learns from them beside the
# text (docs/training.md). After an interruption start it again with the same settings: a run that was stopped or killed
# continues, and those that are complete are left alone. The commands of nextchar must be on the PATH (`make install`, then
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

fail() { # MESSAGE
  echo "teachers.sh: $1" >&2
  exit 1
}

[[ $jobs =~ ^[1-9][0-9]*$ ]] || fail "JOBS is $jobs, not a number from 1 on"
mkdir -p "$folder"
settings="$corpus | ${cells[*]} | ${teacher[*]} | ${student[*]} | ${budget[*]}"
if [[ -e $folder/settings.txt && $(< "$folder/settings.txt") != "$settings" ]]; then
  fail "$folder was begun with other settings ($folder/settings.txt): name another folder, or remove it"
fi
echo "$settings" > "$folder/settings.txt"

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
  elif [[ -e $run/report.md ]]; then
    echo "$run: complete, left alone"
  elif [[ -e $run/last.pt ]]; then
    fail "$run has checkpoints, but neither a report nor a run to resume: move it away"
  else
    exec nextchar-train fit "$corpus" --out "$run" --overwrite --threads 1 "$@"
  fi
}

declare -A pids=() # by run
wait_until() { # NUMBER of trainings that may still run
  local run
  while (($(jobs -rp | wc -l) > $1)); do wait -n || true; done
  for run in "${!pids[@]}"; do
    kill -0 "${pids[$run]}" 2> /dev/null || wait "${pids[$run]}" || fail "$run: not trained"
  done
}

teachers=()
for number in $(seq ${#cells[@]}); do
  run=$folder/teacher-$number
  wait_until $((jobs - 1))
  echo "$run: $run.log tells how far it is"
  train "$run" "${teacher[@]}" "${budget[@]}" --cell "${cells[number - 1]}" --seed $((number + 1)) >> "$run.log" 2>&1 &
  pids[$run]=$!
  teachers+=(--teacher "$run/last.pt")
done
wait_until 0
run=$folder/student
train "$run" "${student[@]}" "${budget[@]}" "${teachers[@]}" &
pids[$run]=$!
wait_until 0
nextchar-train export "$folder/student/last.pt" --out "$folder/student.onnx"
