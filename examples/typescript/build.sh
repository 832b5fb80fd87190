#!/usr/bin/env bash
# Builds dist/client.js. Needs Node with npm, and protoc; packages are those that package-lock.json names.
set -euo pipefail
cd "$(dirname "$0")"
npm ci --ignore-scripts --no-audit --no-fund --silent
mkdir -p src/pb
cd ../../proto
protos=(goodstrace/log/v1/*.proto goodstrace/query/v1/*.proto)
cd - >/dev/null
protoc -I ../../proto --plugin=node_modules/.bin/protoc-gen-ts_proto --ts_proto_out=src/pb \
    --ts_proto_opt=outputServices=grpc-js,importSuffix=.js,env=node,forceLong=bigint,outputJsonMethods=false,outputPartialMethods=false \
    "${protos[@]}"
node_modules/.bin/tsc
