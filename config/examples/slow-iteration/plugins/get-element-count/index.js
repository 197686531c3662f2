'use strict';
// How many elements there are.

exports.handler = (event, context, callback) => {
  callback(null, event.collection.length);
};
