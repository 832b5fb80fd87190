#!/usr/bin/env bash
# Builds bin/client. Needs Go and protoc; the plugins are those that go.mod names.
set -euo pipefail
cd "$(dirname "$0")"
GOBIN="$PWD/bin" go install tool
module=goodstrace.example/client
packages="module=$module,Mgoodstrace/log/v1/log.proto=$module/pb/logs,Mgoodstrace/query/v1/trace.proto=$module/pb/query"
PATH="$PWD/bin:$PATH" protoc -I ../../proto --go_out=. --go_opt="$packages" --go-grpc_out=. --go-grpc_opt="$packages" \
    goodstrace/log/v1/log.proto goodstrace/query/v1/trace.proto
go build -trimpath -buildvcs=false -o bin/client .
