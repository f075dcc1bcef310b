#!/bin/sh
# An agent that keeps steps, without a JSON parser: it reserves an amount, waits a
# while, asks a person, and pays. It may be killed at any moment: it is started again
# from its top, and what it has done is not done again.
#
# LEDGER stands for the world outside: a file that each effect adds a line to.

read -r task # one line: the input stays open
case $task in
*'"steps":['*) steps=${task##*'"steps":['} ;;
*) steps= ;;
esac

# keep NAME COMMAND... leaves in $value what the command printed, a number or a
# simple text in JSON: now, or in the run that did it.
keep() {
	known="{\"name\":\"$1\",\"n\":0,\"value\":"
	case $steps in
	*"$known"*)
		value=${steps#*"$known"}
		value=${value%%\}*}
		return
		;;
	esac
	name=$1
	shift
	value=$("$@") || exit 1
	echo "{\"type\":\"step\",\"name\":\"$name\",\"value\":$value,\"ack\":true}"
	read -r _ || exit 1 # the word that it is kept
}

# effect NAME does something that must not be done twice. One that knows keys gets
# $MESH_TASK_ID.NAME.0 as its key.
effect() {
	echo "$1" >>"${LEDGER:-/dev/null}"
	sleep "${DWELL:-0}"
	echo "\"$1-of-$MESH_TASK_ID\""
}

keep reserve effect reserve
reserved=$value

case $steps in
*'{"name":"cool-down","n":0,"kind":"sleep"'*) ;;
*)
	echo "{\"type\":\"sleep\",\"name\":\"cool-down\",\"for\":\"${COOL_DOWN:-10m}\"}"
	exit
	;;
esac

case $steps in
*'{"name":"approve","n":0,"kind":"answer","value":true'*) ;;
*'{"name":"approve","n":0,"kind":"answer"'*)
	echo '{"type":"error","code":"not_approved","message":"nobody has approved it","retryable":false}'
	exit
	;;
*)
	echo '{"type":"ask","name":"approve","prompt":"Pay it?","schema":{"type":"boolean"},"timeout":"48h"}'
	exit
	;;
esac

keep pay effect pay
echo "{\"type\":\"result\",\"result\":{\"reserved\":$reserved,\"paid\":$value}}"
