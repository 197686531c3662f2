#!/bin/sh
# Executions with the AWS CLI, as a user of AWS types it: start, wait, read, work, redrive, list. $1 is the aws command.
set -eu
aws=$1
role=arn:aws:iam::000000000000:role/any

sfn() { "$aws" stepfunctions "$@" --output text; }
die() { echo "$*" >&2; exit 1; }
same() { [ "$1" = "$2" ] || die "$3: '$1' is not '$2'"; }

# waited EXECUTION STATUS
waited() {
    for _ in $(seq 200); do
        status=$(sfn describe-execution --execution-arn "$1" --query status)
        [ "$status" = RUNNING ] || break
    done
    same "$status" "$2" "$1"
}

activity=$(sfn create-activity --name ask --query activityArn)
machine() {
    sfn create-state-machine --name "$1" --role-arn $role --definition "$2" --type "${3:-STANDARD}" \
        --query stateMachineArn
}

# Start, wait, and read through the command's own paging.
passes=$(machine passes '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Next": "B"}, "B": {"Type": "Succeed"}}}')
execution=$(sfn start-execution --state-machine-arn "$passes" --name one --input '{"n": 1}' --query executionArn)
waited "$execution" SUCCEEDED
same "$(sfn describe-execution --execution-arn "$execution" --query output)" '{"n": 1}' output
same "$(sfn get-execution-history --execution-arn "$execution" --page-size 2 --query 'events[].id' | tr -s '\t\n' '  ')" \
    '1 2 3 4 5 6 ' 'ids of events'
same "$(sfn list-executions --state-machine-arn "$passes" --query 'executions[].name')" one names

# An express machine runs at once.
express=$(machine express '{"StartAt": "A", "States": {"A": {"Type": "Pass", "Result": "fast", "End": true}}}' EXPRESS)
same "$(sfn start-sync-execution --state-machine-arn "$express" --query output)" '"fast"' 'of the express machine'

# An activity is worked: a failure, a redrive, a success.
work=$(machine work '{"StartAt": "B", "States": {"B": {"Type": "Task", "Resource": "'"$activity"'", "End": true}}}')
execution=$(sfn start-execution --state-machine-arn "$work" --input '{"to": "do"}' --query executionArn)
token=$(sfn get-activity-task --activity-arn "$activity" --worker-name shell --query taskToken)
sfn send-task-heartbeat --task-token "$token"
sfn send-task-failure --task-token "$token" --error Broken --cause 'for now'
waited "$execution" FAILED
sfn redrive-execution --execution-arn "$execution" >/dev/null
token=$(sfn get-activity-task --activity-arn "$activity" --query taskToken)
sfn send-task-success --task-token "$token" --task-output '"done"'
waited "$execution" SUCCEEDED
same "$(sfn describe-execution --execution-arn "$execution" --query redriveCount)" 1 'count of redrives'
if sfn redrive-execution --execution-arn "$execution" 2>refusal; then die "a success is redriven"; fi
grep -q ExecutionNotRedrivable refusal || die "$(cat refusal)"

# A function hands its token on, and whoever has it answers.
callback=$(machine callback '{"StartAt": "A", "States": {"A": {"Type": "Task", "End": true,
    "Resource": "arn:aws:states:::lambda:invoke.waitForTaskToken",
    "Parameters": {"FunctionName": "tell", "Payload": {"token.$": "$$.Task.Token"}}}}}')
execution=$(sfn start-execution --state-machine-arn "$callback" --query executionArn)
for _ in $(seq 300); do [ ! -e told/token ] || break; sleep 0.1; done
sfn send-task-success --task-token "$(cat told/token)" --task-output '{"approved": true}'
waited "$execution" SUCCEEDED
same "$(sfn describe-execution --execution-arn "$execution" --query output)" '{"approved": true}' 'of the callback'

# A worker waits for a minute where there is nothing to do, which is as long as this client waits at all.
if [ -n "${ITERD_LONG:-}" ]; then
    same "$(sfn get-activity-task --activity-arn "$activity" --cli-read-timeout 70 --query taskToken)" None 'of a long wait'
fi
