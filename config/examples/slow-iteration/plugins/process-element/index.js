'use strict';
// Processes one element of the list, the last first, and tells how many are left then. It is off by one, as such
// loops are: the README shows what comes of it, and the mend.

exports.handler = (event, context, callback) => {
  const element = event.collection[event.count];
  console.log(`processed ${element.toUpperCase()}`);
  callback(null, event.count - 1);
};
