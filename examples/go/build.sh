#!/usr/bin/env bash
# Builds bin/client. Needs Go and protoc; the plugins are those that go.mod names.
set -euo pipefail
cd "$(dirname "$0")"
GOBIN="$PWD/bin" go install tool
module=goodstrace.example/client
cd ../../proto
protos=(goodstrace/log/v1/*.proto goodstrace/query/v1/*.proto)
cd - >/dev/null
packages="module=$module"
for proto in "${protos[@]}"; do
    folder="${proto#goodstrace/}"
    packages+=",M$proto=$module/pb/${folder%%/*}"
done
PATH="$PWD/bin:$PATH" protoc -I ../../proto --go_out=. --go_opt="$packages" --go-grpc_out=. --go-grpc_opt="$packages" "${protos[@]}"
go build -trimpath -buildvcs=false -o bin/client .
