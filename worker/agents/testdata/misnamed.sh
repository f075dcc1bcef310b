#!/bin/sh
echo '{"agents":[{"name":"Not A Name"}]}'
