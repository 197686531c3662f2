'use strict';
// Begins a job, and tells by what it is known.

exports.handler = async (event) => {
  if (!Number.isFinite(event.takes_s)) throw new Error('takes_s is a number of seconds');
  return { id: `job-${Date.now()}`, ready_ms: Date.now() + event.takes_s * 1000, fails: event.fails === true };
};
