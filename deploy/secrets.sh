#!/usr/bin/env bash
# Makes what deploy/compose.secure.yml needs: a certificate authority, the server's certificate, tokens of callers and a
# key of resume tokens. They are in the folder NEXTCHAR_SECRETS (deploy/secrets).
#
#   deploy/secrets.sh make [NAME...]     makes what is missing. The certificate holds for localhost, 127.0.0.1, `server`
#                                        (the service's name inside Compose) and each NAME, a host name or an address
#   deploy/secrets.sh renew [NAME...]    replaces the server's certificate, by default with one for the same names
#   deploy/secrets.sh caller NAME        makes a token in NAME.token, and adds its hash to the file `tokens`
#   deploy/secrets.sh revoke NAME        removes all hashes of NAME from the file `tokens`
#
# Containers run as users of their own and read the files that are mounted, one by one, so these files are readable; the
# folder isn't open to other users of the host. Files are written in place: a container keeps the file that it was
# started with, and doesn't see another one that takes its name.
set -euo pipefail
folder=${NEXTCHAR_SECRETS:-$(dirname "$0")/secrets}
authority_days=3650
certificate_days=90

usage() {
  sed -n '5,9s/^# *//p' "$0" >&2
  exit 2
}

# Prints a new key of 32 random bytes.
random_key() { openssl rand -hex 32; }

# Runs openssl without the progress that it writes; on an error prints it.
quietly() {
  local said
  said=$("$@" 2>&1) || { printf '%s\n' "$said" >&2; exit 1; }
}

# Prints the alternative names of the certificate: addresses as IP, others as DNS.
alternative_names() {
  local name names="DNS:server,DNS:localhost,IP:127.0.0.1"
  for name; do
    case $name in
      *[!A-Za-z0-9.:-]* | "") echo "secrets.sh: $name is neither a host name nor an address" >&2; exit 2 ;;
      *:*) names+=",IP:$name" ;;
      *[!0-9.]*) names+=",DNS:$name" ;;
      *) names+=",IP:$name" ;;
    esac
  done
  printf '%s' "$names"
}

# The configuration of openssl, so that this machine's own doesn't matter. $1: its extensions.
configuration() { printf '[req]\ndistinguished_name = subject\n[subject]\n[extensions]\n%s\n' "$1"; }

make_authority() {
  configuration $'basicConstraints = critical, CA:true, pathlen:0\nkeyUsage = critical, keyCertSign, cRLSign\nsubjectKeyIdentifier = hash' >"$work/ca.cnf"
  quietly openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days $authority_days -subj "/CN=nextchar" \
    -config "$work/ca.cnf" -extensions extensions -keyout "$work/ca.key" -out "$work/ca.crt"
  cat "$work/ca.key" >"$folder/ca.key"
  cat "$work/ca.crt" >"$folder/ca.crt"
  chmod 600 "$folder/ca.key"
}

make_certificate() {
  local names
  if [ $# -gt 0 ] || [ ! -e "$folder/server.names" ]; then
    names=$(alternative_names "$@")
  else
    names=$(cat "$folder/server.names")
  fi
  configuration "subjectAltName = $names"$'\nbasicConstraints = critical, CA:false\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth\nsubjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid' >"$work/server.cnf"
  quietly openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=nextchar-server" \
    -config "$work/server.cnf" -keyout "$work/server.key" -out "$work/server.csr"
  quietly openssl x509 -req -in "$work/server.csr" -CA "$folder/ca.crt" -CAkey "$folder/ca.key" -days $certificate_days \
    -set_serial "0x$(openssl rand -hex 16)" -extfile "$work/server.cnf" -extensions extensions -out "$work/server.crt"
  cat "$work/server.key" >"$folder/server.key"
  cat "$work/server.crt" >"$folder/server.crt"
  printf '%s\n' "$names" >"$folder/server.names"
  echo "server.crt holds for $names and ends in $certificate_days days" >&2
}

make_caller() {
  local name=$1 token
  case $name in
    *[!A-Za-z0-9._-]* | "" | .*) echo "secrets.sh: a caller's name has letters, digits, '.', '_' and '-'" >&2; exit 2 ;;
  esac
  token=$(random_key)
  printf '%s\n' "$token" >"$folder/$name.token"
  printf '%s %s\n' "$name" "$(printf '%s' "$token" | openssl dgst -sha256 -r | cut -d ' ' -f 1)" >>"$folder/tokens"
  echo "$folder/$name.token has the token of $name" >&2
}

revoke_caller() {
  awk -v name="$1" '$1 != name' "$folder/tokens" >"$work/tokens"
  if ! grep -q '^[^#]' "$work/tokens"; then
    echo "secrets.sh: $1 is the last caller. A server keeps the list that it has if a new one is empty: stop it instead" >&2
    exit 1
  fi
  cat "$work/tokens" >"$folder/tokens"
  rm -f "$folder/$1.token"
}

[ $# -ge 1 ] || usage
verb=$1
shift
umask 022
mkdir -p "$folder"
chmod 700 "$folder"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
case $verb in
  make)
    [ -e "$folder/ca.crt" ] || make_authority
    [ -e "$folder/server.crt" ] || make_certificate "$@"
    [ -e "$folder/resume-keys" ] || random_key >"$folder/resume-keys"
    [ -e "$folder/prometheus.token" ] || make_caller prometheus
    ;;
  renew) make_certificate "$@" ;;
  caller)
    [ $# -eq 1 ] || usage
    make_caller "$1"
    ;;
  revoke)
    [ $# -eq 1 ] || usage
    revoke_caller "$1"
    ;;
  *) usage ;;
esac
