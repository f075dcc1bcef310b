#!/bin/sh
# Prepares the A2A conformance kit in a folder: kit.sh FOLDER REPOSITORY, where the
# repository is a URL or a git directory of a2aproject/a2a-tck. It needs the Debian
# packages python3-pytest python3-pytest-asyncio python3-httpx python3-grpcio
# python3-protobuf python3-jsonschema protobuf-compiler protobuf-compiler-grpc
# libprotobuf-dev, and npm.
set -e
commit=357c4a87afa2818731590647cccbea31c31733a2
mkdir -p "$1"
cd "$1"
[ -d kit ] || git clone -q "$2" kit
git -C kit checkout -q "$commit"
mkdir -p npm inc/google gen
(cd npm && npm install --silent --no-audit --no-fund google-proto-files@6.0.1)
cp -r npm/node_modules/google-proto-files/google/api npm/node_modules/google-proto-files/google/rpc inc/google/
protoc -I inc -I /usr/include --python_out=gen \
	google/api/annotations.proto google/api/http.proto google/api/client.proto google/api/field_behavior.proto google/api/launch_stage.proto \
	google/rpc/status.proto google/rpc/error_details.proto
cd kit
protoc -I ../inc -I /usr/include -I specification --python_out=specification/generated --grpc_out=specification/generated \
	--plugin=protoc-gen-grpc=/usr/bin/grpc_python_plugin a2a.proto
printf '[pytest]\ntestpaths = tests\nasyncio_mode = auto\nmarkers =\n' > pytest.ini
for marker in core must should may grpc jsonrpc http_json streaming integration; do printf '    %s: x\n' "$marker" >> pytest.ini; done
