#!/bin/sh
echo no module named x >&2; exit 3
