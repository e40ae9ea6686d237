#!/bin/sh
# Make the secrets of compose.yaml, with random passwords, in the folder `secrets` beside this file or the given folder.
# Only you can enter the folder. The files in it are readable, because containers run under other accounts.
set -eu
folder="${1:-$(dirname "$0")/secrets}"
if [ -e "$folder" ]; then
    echo "$folder already exists: nothing was changed."
    exit 0
fi
random() { od -An -N24 -tx1 /dev/urandom | tr -d ' \n'; }
admin=$(random) product=$(random)
umask 077
mkdir -p "$folder.new"
cd "$folder.new"
printf '%s' "$admin" > postgres_password
printf 'postgresql://postgres:%s@postgres:5432/postgres' "$admin" > kpi_admin_postgres_url
printf 'postgresql://kpi_app:%s@postgres:5432/postgres' "$product" > kpi_postgres_url
random > kpi_ui_token
printf 'postgresql://kpi_serve:%s@postgres:5432/postgres' "$(random)" > kpi_serve_postgres_url
key="kpi_$(random)"  # opens the pages for readers; the server gets its hash
printf '%s' "$key" > key_of_first_reader
printf 'first:%s' "$(printf '%s' "$key" | sha256sum | cut -d' ' -f1)" > kpi_serve_keys
for name in aws_credentials stream_credentials; do
    printf '[default]\naws_access_key_id = %s\naws_secret_access_key = %s\n' "$(random)" "$(random)" > "$name"
done
: > kpi_stream_password  # yours, where the broker has a login
chmod 444 ./*
cd - > /dev/null
mv "$folder.new" "$folder"
echo "Wrote the secrets to $folder."
