#!/bin/sh
# Makes what a fleet of compose.yaml keeps secret, in ./secrets: a certificate authority
# and a certificate of the NATS servers, a password for each NATS user, the key that seals
# the secrets of webhooks, and an admin's API key. A second run changes nothing.
#
#   ./prepare.sh                    needs openssl, and the image for keys
#   MESH=../../bin/mesh ./prepare.sh   takes a binary instead
set -eu
umask 077
MESH=${MESH:-docker run --rm agentmesh}
DIR=${DIR:-$(dirname "$0")/secrets}
if [ -e "$DIR/nats.env" ]; then
	echo "$DIR is there already: remove it to make another one"
	exit 0
fi
mkdir -p "$DIR"
cd "$DIR"

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=mesh NATS authority" \
	-keyout ca.key -out ca.crt 2>/dev/null
openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=nats" -keyout nats.key -out nats.csr 2>/dev/null
printf 'subjectAltName=DNS:nats-1,DNS:nats-2,DNS:nats-3,DNS:localhost,IP:127.0.0.1\nextendedKeyUsage=serverAuth,clientAuth\n' >nats.ext
openssl x509 -req -in nats.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile nats.ext -out nats.crt 2>/dev/null
rm -f nats.csr nats.ext ca.srl
chmod 644 ca.crt nats.crt nats.key # containers read them as users of their own; the folder is ours alone

admin_key=$($MESH keys make)
secret_key=$($MESH key)
: >nats.env.part
user() { # role, NATS user: its password for the servers, and who it is for the role
	password=p$(openssl rand -hex 24) # the servers read one of digits as a number
	variable=NATS_$(printf '%s' "$2" | tr 'a-z.-' 'A-Z__')_PASSWORD
	echo "$variable=$password" >>nats.env.part
	printf 'NATS_USER=%s\nNATS_PASSWORD=%s\n' "$2" "$password" >"$1.env"
}
user init admin
user gateway gateway
user worker worker.samples
user notifier notifier
user backup backup
user face face
user caller caller
user events events.default
user sys sys
echo "MESH_SECRET_KEY=$secret_key" | tee -a gateway.env >>notifier.env
echo "MESH_ADMIN_KEY=$admin_key" >>gateway.env
mv nats.env.part nats.env
echo "made in $DIR; the admin's key is MESH_ADMIN_KEY in $DIR/gateway.env"
