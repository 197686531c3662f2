// Executions with the SDK of AWS for JavaScript, as a user of AWS writes it: start, wait, read, work, redrive, list.
"use strict";
const assert = require("node:assert");
const fs = require("node:fs");
const { setTimeout: sleep } = require("node:timers/promises");
const sfn = require("@aws-sdk/client-sfn");

const roleArn = "arn:aws:iam::000000000000:role/any";
// This SDK reads no variable for it, and would ask sync-127.0.0.1.
const client = new sfn.SFNClient({ endpoint: process.env.AWS_ENDPOINT_URL_SFN, disableHostPrefix: true });
const call = (name, input) => client.send(new sfn[`${name}Command`](input));

async function machine(name, states, type) {
  const definition = JSON.stringify({ StartAt: "A", States: states });
  return (await call("CreateStateMachine", { name, definition, roleArn, type })).stateMachineArn;
}

async function waited(executionArn) {
  for (let n = 0; n < 3000; n += 1) {
    const told = await call("DescribeExecution", { executionArn });
    if (told.status !== "RUNNING") return told;
    await sleep(20);
  }
  throw new Error(`${executionArn} does not end`);
}

async function main() {
  const { activityArn } = await call("CreateActivity", { name: "ask" });

  // Start, wait, and read through the SDK's own pages.
  const passes = await machine("passes", { A: { Type: "Pass", Next: "B" }, B: { Type: "Succeed" } });
  const begun = await call("StartExecution", { stateMachineArn: passes, name: "one", input: '{"n":  1}' });
  let told = await waited(begun.executionArn);
  assert.equal(told.status, "SUCCEEDED");
  assert.equal(told.output, '{"n":  1}');
  assert.ok(begun.startDate instanceof Date);
  const ids = [];
  const history = { executionArn: begun.executionArn };
  for await (const page of sfn.paginateGetExecutionHistory({ client, pageSize: 2 }, history)) {
    ids.push(...page.events.map((event) => event.id));
  }
  assert.deepEqual(ids, [1, 2, 3, 4, 5, 6]);

  // An express machine runs at once.
  const express = await machine("express", { A: { Type: "Pass", Result: "fast", End: true } }, "EXPRESS");
  assert.equal((await call("StartSyncExecution", { stateMachineArn: express })).output, '"fast"');

  // An activity is worked: a failure, a redrive, a success.
  const work = await machine("work", { A: { Type: "Task", Resource: activityArn, End: true } });
  const { executionArn } = await call("StartExecution", { stateMachineArn: work, input: '{"to": "do"}' });
  let task = await call("GetActivityTask", { activityArn, workerName: "javascript" });
  assert.deepEqual(JSON.parse(task.input), { to: "do" });
  await call("SendTaskHeartbeat", { taskToken: task.taskToken });
  await call("SendTaskFailure", { taskToken: task.taskToken, error: "Broken", cause: "for now" });
  await assert.rejects(call("SendTaskSuccess", { taskToken: task.taskToken, output: "1" }), sfn.TaskTimedOut);
  told = await waited(executionArn);
  assert.equal(told.error, "Broken");
  const { redriveDate } = await call("RedriveExecution", { executionArn });
  assert.ok(redriveDate >= told.stopDate);
  task = await call("GetActivityTask", { activityArn });
  await call("SendTaskSuccess", { taskToken: task.taskToken, output: '"done"' });
  told = await waited(executionArn);
  assert.equal(told.output, '"done"');
  assert.equal(told.redriveCount, 1);
  await assert.rejects(call("RedriveExecution", { executionArn }), sfn.ExecutionNotRedrivable);

  // Lists come page by page.
  for (let n = 0; n < 6; n += 1) await call("StartExecution", { stateMachineArn: passes, name: `n${n}` });
  const names = [];
  for await (const page of sfn.paginateListExecutions({ client, pageSize: 3 }, { stateMachineArn: passes })) {
    names.push(...page.executions.map((execution) => execution.name));
  }
  assert.deepEqual(names, ["n5", "n4", "n3", "n2", "n1", "n0", "one"]);

  // A function hands its token on, and whoever has it answers.
  const callback = await machine("callback", {
    A: {
      Type: "Task",
      Resource: "arn:aws:states:::lambda:invoke.waitForTaskToken",
      Parameters: { FunctionName: "tell", Payload: { "token.$": "$$.Task.Token" } },
      End: true,
    },
  });
  const asked = await call("StartExecution", { stateMachineArn: callback });
  for (let n = 0; n < 1500 && !fs.existsSync("told/token"); n += 1) await sleep(20);
  await call("SendTaskSuccess", { taskToken: fs.readFileSync("told/token", "utf8"), output: '{"approved": true}' });
  told = await waited(asked.executionArn);
  assert.equal(told.output, '{"approved": true}');

  // A worker waits for a minute where there is nothing to do.
  if (process.env.ITERD_LONG) {
    const from = Date.now();
    assert.ok(!(await call("GetActivityTask", { activityArn })).taskToken);
    assert.ok(Date.now() - from > 59000);
  }
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
