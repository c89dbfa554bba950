#!/usr/bin/env bash
# Measures the emulator: mixed reads over 64 connections, and a download of 4 GiB compared with nginx.
# Needs curl, jq, nginx and wrk, and 10 GB in TMPDIR. SECONDS_OF_READS and ROUNDS make it shorter.
set -euo pipefail
aignostics=$1
work=$(mktemp -d)
trap 'kill $(jobs -p) 2>/dev/null || true; wait; rm -rf "$work"' EXIT
cd "$work"

"$aignostics" emulator --data-dir "$work/data" > ready.json &
emulator=$!
until [ -s ready.json ]; do kill -0 $emulator; sleep 0.1; done
of() { jq -r "$1" ready.json; }
api=$(of .api_root)
storage=$(of .storage)
token=$(curl -sS "$(of .env.AIGNOSTICS_TOKEN_URL)" -d grant_type=refresh_token -d "client_id=$(of .client_ids.interactive)" \
    -d "refresh_token=$(of .env.AIGNOSTICS_REFRESH_TOKEN)" | jq -r .access_token)
call() { curl -sS --fail-with-body -H "Authorization: Bearer $token" "$@"; }

# 100 runs of 20 items each, all of which terminate immediately.
item='{input_artifacts: [{name: "whole_slide_image", download_url: "http://127.0.0.1:9/", metadata: {}}]}'
submission=$(jq -nc "{application_id: \"outcomes\", items: [range(20) | $item + {external_id: \"slide-\(.)\"}]}")
for _ in $(seq 100); do
    run=$(call "${api}api/v1/runs" -H 'Content-Type: application/json' -d "$submission" | jq -r .run_id)
done
until [ "$(curl -sS -H "Authorization: Bearer $token" "${api}api/v1/runs/$run" | jq -r .state)" = TERMINATED ]; do sleep 0.1; done

cat > reads.lua <<LUA
local paths = { "/api/v1/runs?page_size=20", "/api/v1/runs/$run", "/api/v1/runs/$run/items", "/api/v1/applications", "/api/v1/me", "/health" }
local next = 0
wrk.headers["Authorization"] = "Bearer $token"
request = function()
    next = next % #paths + 1
    return wrk.format("GET", paths[next])
end
LUA
echo "== mixed reads, 64 connections"
wrk --threads 1 --connections 64 --duration "${SECONDS_OF_READS:-60}s" --latency --script reads.lua "$api"
grep -E '^(VmHWM|VmRSS)' "/proc/$emulator/status"

echo "== one object of 4 GiB, MB/s"
head -c 4G /dev/zero > object
bucket=$(call "${api}api/v1/me" | jq -c .organization)
url=$storage$(jq -r .aignostics_bucket_name <<< "$bucket")/object
key=$(jq -r '.aignostics_bucket_hmac_access_key_id + ":" + .aignostics_bucket_hmac_secret_access_key' <<< "$bucket")
# The key is passed in a file, because other users can read the command line.
(umask 077; printf 'user = "%s"\naws-sigv4 = "aws:amz:%s:s3"\nheader = "x-amz-content-sha256: UNSIGNED-PAYLOAD"\n' "$key" "$(of .env.AIGNOSTICS_BUCKET_REGION_NAME)" > signed)
curl -sS --fail-with-body --config signed --upload-file object "$url"
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
cat > nginx.conf <<NGINX
daemon off; master_process off; pid $work/nginx.pid; error_log stderr error; events {}
http {
    access_log off; sendfile off; root $work;
    client_body_temp_path $work; proxy_temp_path $work; fastcgi_temp_path $work; uwsgi_temp_path $work; scgi_temp_path $work;
    server { listen 127.0.0.1:$port; }
}
NGINX
nginx -c "$work/nginx.conf" &
until curl -s --head "http://127.0.0.1:$port/object" > /dev/null; do sleep 0.1; done
get() { curl -sS --fail -o /dev/null -w '%{speed_download}\n' "$@" | awk '{ printf "%.0f\n", $1 / 1e6 }'; }
for round in $(seq "${ROUNDS:-9}"); do
    emulator_speed=$(get --config signed "$url")
    nginx_speed=$(get "http://127.0.0.1:$port/object")
    echo "$emulator_speed $nginx_speed" | tee -a speeds | awk -v round="$round" '{ printf "round %d: emulator %d, nginx %d, ratio %.2f\n", round, $1, $2, $1 / $2 }'
done
median() { sort -n | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
echo "median: emulator $(cut -d' ' -f1 speeds | median), nginx $(cut -d' ' -f2 speeds | median), ratio $(awk '{ printf "%.2f\n", $1 / $2 }' speeds | median)"
grep -E '^VmHWM' "/proc/$emulator/status"
