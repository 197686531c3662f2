'use strict';
// How a job stands.

exports.handler = async (job) => {
  if (Date.now() < job.ready_ms) return 'RUNNING';
  return job.fails ? 'FAILED' : 'SUCCEEDED';
};
