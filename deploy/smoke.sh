#!/bin/sh
# Runs the three patterns against a mesh from outside, with curl only, and says what
# failed: exit 0 when all of it works, 1 when something does not, 2 when it is called
# wrongly.
#
#   deploy/smoke.sh URL [KEY]
#
# AGENT runs a task (echo), TALKER holds a conversation (travel). CALLBACK_URL is a
# receiver of yours that answers 2xx; without one it is seen that the callback was
# tried, not that it came. CURL are more arguments of curl, such as "--cacert ca.pem".
set -u

url=${1:-} key=${2:-}
if [ -z "$url" ]; then
	echo "usage: $0 URL [KEY], such as $0 http://127.0.0.1:8080" >&2
	exit 2
fi
url=${url%/}
agent=${AGENT:-echo} talker=${TALKER:-travel}
patience=${PATIENCE:-30} # seconds until an outcome has to be there

work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
failed=0

# ask METHOD PATH [BODY [HEADER]]: the status is in $status, the answer in $answer.
ask() {
	set -- "$1" "$2" "${3:-}" "${4:-X-Smoke: 1}"
	{
		echo "url = \"$url$2\""
		echo "request = \"$1\""
		[ -z "$key" ] || echo "header = \"Authorization: Bearer $key\"" # not on a command line
	} >"$work/curl"
	printf '%s' "$3" >"$work/body"
	[ -z "$3" ] || echo "data-binary = \"@$work/body\"" >>"$work/curl"
	# shellcheck disable=SC2086 # CURL is a list of arguments
	status=$(curl ${CURL:-} --silent --show-error --max-time 70 --config "$work/curl" \
		--header 'Content-Type: application/json' --header "$4" --output "$work/answer" --write-out '%{http_code}' 2>"$work/error")
	if [ $? -ne 0 ]; then
		status=000
		answer=$(cat "$work/error")
		return
	fi
	answer=$(cat "$work/answer" 2>/dev/null)
}

# member NAME: the first string of that name in the answer.
member() { printf '%s' "$answer" | tr -d '\n' | sed -n "s/.*\"$1\" *: *\"\([^\"]*\)\".*/\1/p"; }

ok() { echo "ok      $*"; }
wrong() {
	failed=1
	echo "FAILED  $*"
	echo "        answered $status $(printf '%s' "$answer" | tr -d '\n' | cut -c1-300)"
}

# outcome PATH: waits until it is settled.
outcome() {
	waited=0
	while :; do
		ask GET "$1" '' 'Prefer: wait=5'
		case $(member status) in completed | failed | canceled) return 0 ;; esac
		[ "$status" = 200 ] || return 1
		[ "$waited" -lt "$patience" ] || return 1
		waited=$((waited + 1))
		sleep 1
	done
}

ask GET /readyz
case $status in
200) ok "ready" ;;
000) wrong "the mesh does not answer: is the URL right, and does the gateway run?"; exit 1 ;;
*) wrong "the gateway is not ready" ;;
esac

# Initiate and poll.
once=smoke-$$-$(date +%s)
body="{\"agent\":\"$agent\",\"input\":{\"smoke\":\"$once\"},\"labels\":{\"from\":\"smoke\"}}"
ask POST /tasks "$body" "Idempotency-Key: $once"
task=$(member task_id)
if [ "$status" = 202 ] && [ -n "$task" ]; then
	ok "task accepted: $task"
	ask POST /tasks "$body" "Idempotency-Key: $once"
	[ "$(member task_id)" = "$task" ] && ok "repeated with its key: the same task" || wrong "the same Idempotency-Key made another task"
	outcome "/tasks/$task"
	[ "$(member status)" = completed ] && ok "task completed" || wrong "task $task is not completed within $patience s: does a worker serve $agent?"
else
	wrong "POST /tasks with agent $agent"
fi

# Initiate and call back.
receiver=${CALLBACK_URL:-https://callback.invalid/}
ask POST /actions "{\"agent\":\"$agent\",\"input\":{\"smoke\":\"$once\"},\"callback_url\":\"$receiver\"}"
action=$(member action_id)
if [ "$status" = 202 ] && [ -n "$action" ]; then
	ok "action accepted: $action"
	outcome "/actions/$action"
	[ "$(member status)" = completed ] && ok "action completed" || wrong "action $action is not completed within $patience s"
	waited=0 told=
	while [ "$waited" -lt "$patience" ]; do
		ask GET "/actions/$action/deliveries"
		case $answer in
		*'"status":"delivered"'*) told=arrived; break ;;
		*'"attempts":[{'* | *'"attempt":1'*) [ -n "${CALLBACK_URL:-}" ] || { told=tried; break; } ;;
		esac
		waited=$((waited + 1))
		sleep 1
	done
	case $told in
	arrived) ok "callback delivered" ;;
	tried) ok "callback tried (set CALLBACK_URL to a receiver to see one arrive)" ;;
	*) wrong "no callback within $patience s: does a notifier run, and may it reach $receiver?" ;;
	esac
else
	wrong "POST /actions with callback_url $receiver"
fi

# A session.
ask POST /sessions "{\"agent\":\"$talker\"}"
session=$(member session_id)
if [ "$status" = 201 ] && [ -n "$session" ]; then
	ok "session opened: $session"
	ask POST "/sessions/$session/messages" '{"text":"Find flights to Tokyo."}'
	[ "$status" = 200 ] && [ -n "$(member message)" ] && ok "the agent replied" || wrong "no reply in session $session: does a worker serve $talker?"
	ask GET "/sessions/$session/messages"
	case $answer in *Tokyo*) ok "the transcript has the turn" ;; *) wrong "the transcript lacks the turn" ;; esac
	ask DELETE "/sessions/$session"
	[ "$status" = 204 ] || [ "$status" = 200 ] && ok "session deleted" || wrong "DELETE /sessions/$session"
else
	wrong "POST /sessions with agent $talker"
fi

[ "$failed" = 0 ] && echo "all of it works"
exit "$failed"
