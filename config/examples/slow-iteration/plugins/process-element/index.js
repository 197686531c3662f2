'use strict';
// Processes the last element that is left, and tells how many are left then.

exports.handler = (event, context, callback) => {
  const element = event.collection[event.count - 1];
  if (typeof element !== 'string') {
    callback(new Error(`${JSON.stringify(element)} is no text`));
    return;
  }
  console.log(`processed ${element}`);
  callback(null, event.count - 1);
};
