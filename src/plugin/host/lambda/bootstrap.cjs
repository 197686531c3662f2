'use strict';
// Runs a Lambda handler in Node.js: node bootstrap.cjs FILE.FUNCTION
//
// Asks the runtime API for events, one after the other, calls the handler of each as AWS does (async,
// with a callback, or by context.done and its kin) and posts what comes of it. Depends on nothing but
// Node.js itself; works from Node.js 14 on.

const fs = require('fs');
const http = require('http');
const path = require('path');
const { pathToFileURL } = require('url');

const root = process.env.LAMBDA_TASK_ROOT || process.cwd();
const [host, port] = splitOnce(process.env.AWS_LAMBDA_RUNTIME_API, ':');
const base = '/2018-06-01/runtime/';
// A connection of its own: what the handler does to the global agent is its business.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });

// The invocation under way; whatever goes wrong is its fault.
let current = null;

function splitOnce(text, separator) {
  const at = text.indexOf(separator);
  return at < 0 ? [text, ''] : [text.slice(0, at), text.slice(at + separator.length)];
}

// One request; resolves to status, headers and body.
function ask(method, what, body, headers = {}) {
  return new Promise((resolve, reject) => {
    const options = { agent, host, port, method, path: base + what, headers };
    if (body !== undefined) {
      body = Buffer.from(body);
      options.headers = { 'Content-Type': 'application/json', 'Content-Length': body.length, ...headers };
    }
    const request = http.request(options, (response) => {
      const parts = [];
      response.on('data', (part) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => resolve({
        status: response.statusCode,
        headers: response.headers,
        body: parts.length === 1 ? parts[0] : Buffer.concat(parts),
      }));
    });
    request.on('error', reject);
    request.setNoDelay(true);
    request.end(body);
  });
}

// An error as Lambda tells it, whatever was thrown.
function told(error) {
  if (error instanceof Error || (error && typeof error === 'object' && 'message' in error && 'stack' in error)) {
    return {
      errorType: String(error.name || 'Error'),
      errorMessage: String(error.message),
      trace: String(error.stack || '').split('\n'),
    };
  }
  return { errorType: typeof error, errorMessage: typeof error === 'string' ? error : show(error), trace: [] };
}

function show(value) {
  try {
    const text = JSON.stringify(value);
    return text === undefined ? String(value) : text;
  } catch {
    return String(value);
  }
}

function named(name, message, cause) {
  const error = new Error(message);
  error.name = name;
  if (cause && cause.stack) {
    error.stack = `${name}: ${cause.stack}`;
  }
  return error;
}

function post(what, report, headers = {}) {
  // A header holds less than a name may.
  const kind = report.errorType.replace(/[^ -~]/g, '?').slice(0, 256);
  return ask('POST', what, JSON.stringify(report), { 'Lambda-Runtime-Function-Error-Type': kind, ...headers });
}

// Tells what ended the runtime, of the event under way or of the start, and ends it.
async function die(report, code) {
  console.error(JSON.stringify(report));
  try {
    const id = current && current.id;
    current = null;
    // iterd's own header: nothing more is to be asked of this runtime.
    await post(id ? `invocation/${id}/error` : 'init/error', report, { 'Iterd-Last': 'true' });
  } catch {
    // Whoever listened is gone.
  }
  process.exit(code);
}

// The handler that a name such as src/index.handler stands for.
async function load(name) {
  const folder = path.dirname(name);
  const [file, expression] = splitOnce(path.basename(name), '.');
  if (!file || !expression) {
    throw named('Runtime.MalformedHandlerName', `Bad handler ${name}; it is written file.function`);
  }
  const stem = path.resolve(root, folder, file);
  let module;
  try {
    module = await loadModule(stem);
  } catch (error) {
    const code = error && error.code;
    if (code === 'MODULE_NOT_FOUND' || code === 'ERR_MODULE_NOT_FOUND') {
      throw named('Runtime.ImportModuleError', `Error: ${error.message}`, error);
    }
    if (error instanceof SyntaxError) {
      throw named('Runtime.UserCodeSyntaxError', `SyntaxError: ${error.message}`, error);
    }
    throw error;
  }
  let found = pick(module, expression);
  if (found === undefined && module && module.default) {
    found = pick(module.default, expression);
  }
  if (found === undefined) {
    throw named('Runtime.HandlerNotFound', `${name} is undefined or not exported`);
  }
  if (typeof found !== 'function') {
    throw named('Runtime.HandlerNotFound', `${name} is not a function`);
  }
  return found;
}

function pick(module, expression) {
  return expression.split('.').reduce((value, part) => (value == null ? undefined : value[part]), module);
}

async function loadModule(stem) {
  const end = ['.js', '.mjs', '.cjs'].find((end) => fs.existsSync(stem + end));
  if (end === '.mjs') {
    return import(pathToFileURL(stem + end).href);
  }
  try {
    return require(end ? stem + end : stem);
  } catch (error) {
    const isModule = ['ERR_REQUIRE_ESM', 'ERR_REQUIRE_ASYNC_MODULE'].includes(error && error.code);
    if (isModule) {
      return import(pathToFileURL(end ? stem + end : require.resolve(stem)).href);
    }
    throw error;
  }
}

// What the handler is told beside its event.
function contextOf(invocation, settle) {
  const { env } = process;
  return {
    callbackWaitsForEmptyEventLoop: true,
    functionName: env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: env.AWS_LAMBDA_FUNCTION_VERSION,
    invokedFunctionArn: invocation.arn,
    memoryLimitInMB: env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    awsRequestId: invocation.id,
    logGroupName: env.AWS_LAMBDA_LOG_GROUP_NAME,
    logStreamName: env.AWS_LAMBDA_LOG_STREAM_NAME,
    clientContext: invocation.clientContext,
    identity: undefined,
    getRemainingTimeInMillis: () => invocation.deadline - Date.now(),
    done: (error, result) => settle(error, result),
    succeed: (result) => settle(null, result),
    fail: (error) => settle(error === undefined || error === null ? 'handled' : error),
  };
}

// Resolves to [error, result] when the handler has answered.
function call(handler, event, invocation) {
  return new Promise((resolve) => {
    let settled = null;
    const give = (error, result) => {
      if (current === invocation) {
        invocation.atRest = null;
        resolve([error, result]);
      }
    };
    // Ends the call at once; for context.done and its kin, and for promises.
    const settle = (error, result) => {
      settled = settled || [error, result];
      give(...settled);
    };
    const context = contextOf(invocation, settle);
    // A callback's answer waits until nothing is left to be done, unless the handler says otherwise.
    const callback = (error, result) => {
      settled = settled || [error, result];
      if (!context.callbackWaitsForEmptyEventLoop) {
        give(...settled);
      }
    };
    // Nothing is left to be done: what was answered counts, or nothing was.
    invocation.atRest = () => give(...(settled || [null, null]));
    let returned;
    try {
      returned = handler(event, context, callback);
    } catch (error) {
      settle(error === undefined || error === null ? 'handled' : error);
      return;
    }
    if (returned && typeof returned.then === 'function') {
      returned.then(
        (result) => settle(null, result),
        (error) => settle(error === undefined || error === null ? 'handled' : error),
      );
    }
  });
}

async function next() {
  const { status, headers, body } = await ask('GET', 'invocation/next');
  if (status !== 200) {
    throw new Error(`no event: ${status} ${body}`);
  }
  const trace = headers['lambda-runtime-trace-id'];
  if (trace) {
    process.env._X_AMZN_TRACE_ID = trace;
  } else {
    delete process.env._X_AMZN_TRACE_ID;
  }
  const clientContext = headers['lambda-runtime-client-context'];
  return {
    id: headers['lambda-runtime-aws-request-id'],
    arn: headers['lambda-runtime-invoked-function-arn'],
    deadline: Number(headers['lambda-runtime-deadline-ms']),
    clientContext: clientContext ? JSON.parse(clientContext) : undefined,
    event: JSON.parse(body.toString()),
    atRest: null,
  };
}

// The text of a result, or an error.
function textOf(result) {
  try {
    const text = JSON.stringify(result === undefined ? null : result);
    return [null, text === undefined ? 'null' : text];
  } catch (error) {
    return [named('Runtime.MarshalError', `the result is no JSON: ${error.message}`)];
  }
}

async function serve(handler) {
  for (;;) {
    const invocation = await next();
    current = invocation;
    let [error, result] = await call(handler, invocation.event, invocation);
    let text;
    if (error === undefined || error === null) {
      [error, text] = textOf(result);
    }
    current = null;
    if (error === null) {
      await ask('POST', `invocation/${invocation.id}/response`, text);
    } else {
      const report = told(error);
      console.error(JSON.stringify(report));
      await post(`invocation/${invocation.id}/error`, report);
    }
  }
}

process.on('beforeExit', () => {
  if (current && current.atRest) {
    current.atRest();
  }
});
process.on('uncaughtException', (error) => {
  die(told(error), 129);
});
process.on('unhandledRejection', (reason) => {
  const report = told(reason);
  die({ ...report, errorType: 'Runtime.UnhandledPromiseRejection', errorMessage: `${reason}` }, 128);
});

(async () => {
  const [major] = process.versions.node.split('.');
  process.env.AWS_EXECUTION_ENV = process.env.AWS_EXECUTION_ENV || `AWS_Lambda_nodejs${major}.x`;
  let handler;
  try {
    handler = await load(process.argv[2]);
  } catch (error) {
    await die(told(error), 1);
    return;
  }
  try {
    await serve(handler);
  } catch (error) {
    // The runtime API is gone, and with it whoever would want an answer.
    console.error(error);
    process.exit(1);
  }
})();
