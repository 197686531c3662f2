'use strict';
// Counts the rounds of a loop for a state machine: where it stands, and whether there is another round.
//
//   "Next": {"Type": "Task", "Resource": "arn:aws:lambda:us-east-1:000000000000:function:iterator",
//            "ResultPath": "$.iterator", "Next": "More"},
//   "More": {"Type": "Choice", "Default": "Done",
//            "Choices": [{"Variable": "$.iterator.continue", "BooleanEquals": true, "Next": "Work"}]}
//
// Takes {"iterator": {"index": 0, "step": 1, "count": 10}} among whatever else the loop carries along.

exports.handler = (event, context, callback) => {
  const { index, step = 1, count } = event.iterator || {};
  if (![index, step, count].every(Number.isFinite) || step === 0) {
    const error = new Error('iterator needs the numbers index, count, and a step that is not 0');
    error.name = 'BadIterator';
    callback(error);
    return;
  }
  const next = index + step;
  const more = step > 0 ? next < count : next > count;
  callback(null, { index: next, step, count, continue: more });
};
