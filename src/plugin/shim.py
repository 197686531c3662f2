"""Calls a Python function for each item, or each batch: python3 shim.py FILE FUNCTION IN_FLIGHT.

Owns the protocol's end in a worker. The handler may print what it likes: standard output becomes
standard error before any of its code runs, and the protocol keeps a descriptor of its own.

With one item in flight the handler runs in the main thread. With more, it runs in threads, or,
where it is a coroutine function, in tasks of one event loop.
"""

import importlib.util
import inspect
import json
import os
import sys
import threading
import traceback

CAUSE_CHARACTERS_MAX = 8000

# What a pipe holds. Twice as much, and the allocator would map and unmap memory at every read.
READ_BYTES = 1 << 16


class Call:
    """What a handler that takes a second parameter is told beside its item, and may tell."""

    __slots__ = ("attempt", "key", "index", "id", "cursor", "_ticket", "_tell")

    def __init__(self, message, tell):
        self.attempt = message["attempt"]
        self.key = message["key"]
        self.index = message["index"]
        self.id = message.get("item_id")
        self.cursor = message.get("cursor")
        self._ticket = message["id"]
        self._tell = tell

    def heartbeat(self, cursor=None):
        """Says that the work goes on, and where it is: what a further try finds in `cursor`."""
        message = {"id": self._ticket, "heartbeat": True}
        if cursor is not None:
            message["cursor"] = self.cursor = cursor
        self._tell(json.dumps(message, allow_nan=False) + "\n")


def claim_protocol():
    """Keeps standard input and output for the protocol, and gives the handler others."""
    source, sink = os.dup(0), os.dup(1)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)
    return source, sink


def load(file, function):
    """The handler. Its folder, which is the working directory, comes first among the imports."""
    sys.path[0] = os.getcwd()
    name = os.path.splitext(file)[0].replace("/", ".")
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.getcwd(), file))
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    handler = getattr(module, function, None)
    if not callable(handler):
        sys.exit("%s has no function %s" % (file, function))
    return handler


def takes_call(handler):
    """Whether the handler has a second positional parameter."""
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        return False
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    positional = [p for p in parameters if p.kind in kinds]
    several = any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters)
    return len(positional) >= 2 or several


def result_line(ticket, result):
    try:
        text = json.dumps(result, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        return error_line(ticket, "Iterd.InvalidAnswer", "the result is no JSON: %s" % error)
    return '{"id":%d,"result":%s}\n' % (ticket, text)


def error_line(ticket, name, cause, **wishes):
    message = {"id": ticket, "error": name, "cause": cause}
    message.update((key, value) for key, value in wishes.items() if value is not None)
    return json.dumps(message) + "\n"


def number(value):
    """A number that JSON can hold, or nothing."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e12:
        return value
    return None


def exception_line(ticket, error):
    """What an exception says, with the last part of its traceback within the handler."""
    trace = error.__traceback__
    if trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    try:
        text = str(error)
    except Exception:
        text = "(its text cannot be made)"
    lines = "".join(traceback.format_tb(trace))
    cause = text[-CAUSE_CHARACTERS_MAX:] + "\n" + lines[-CAUSE_CHARACTERS_MAX:]
    retry = getattr(error, "retry", None)
    return error_line(
        ticket,
        type(error).__name__,
        cause.strip().encode("utf-8", "replace").decode(),
        retry=retry if isinstance(retry, bool) else None,
        retry_after_s=number(getattr(error, "retry_after_s", None)),
        close_limiter_s=number(getattr(error, "close_limiter_s", None)),
    )


def messages(source):
    """The calls, in lists of as many as have come together."""
    rest = b""
    while True:
        chunk = os.read(source, READ_BYTES)
        if not chunk:
            return
        if b"\n" not in chunk:
            # A long item: gather it without copying what is there again and again.
            pieces = [rest, chunk]
            while chunk and b"\n" not in chunk:
                chunk = os.read(source, READ_BYTES)
                pieces.append(chunk)
            rest, chunk = b"".join(pieces), b""
        lines = (rest + chunk).split(b"\n")
        rest = lines.pop()
        yield lines


def write_all(sink, text):
    data = memoryview(text.encode())
    while data:
        data = data[os.write(sink, data):]


def arguments(message, second, tell):
    """What the handler is given: an item and its call, or lists of both."""
    batch = message.get("batch")
    if batch is None:
        return (message["item"], Call(message, tell)) if second else (message["item"],)
    items = [call["item"] for call in batch]
    return (items, [Call(call, tell) for call in batch]) if second else (items,)


def failure_lines(message, error):
    """An exception fails all that the handler was given."""
    calls = message.get("batch", (message,))
    return "".join(exception_line(call["id"], error) for call in calls)


def result_lines(message, result):
    """A result, or for a batch one for each item: a list of results, in which an exception is the
    failure of its item, or what Lambda functions answer, which names by their keys those that failed."""
    batch = message.get("batch")
    if batch is None:
        return result_line(message["id"], result)
    if isinstance(result, dict) and isinstance(result.get("batchItemFailures"), list):
        failed = {entry.get("itemIdentifier") for entry in result["batchItemFailures"]}
        if None in failed or "" in failed or failed - {call["key"] for call in batch}:
            # As AWS does: an answer that names what was not asked for fails all of it.
            failed = {call["key"] for call in batch}
        return "".join(
            error_line(call["id"], "Iterd.BatchItemFailure", "the handler names it in batchItemFailures")
            if call["key"] in failed
            else result_line(call["id"], None)
            for call in batch
        )
    if not isinstance(result, (list, tuple)) or len(result) != len(batch):
        got = "%d results" % len(result) if isinstance(result, (list, tuple)) else type(result).__name__
        cause = "a handler with batch > 1 returns a list of as many results as it was given items (%d), or batchItemFailures; this one: %s"
        return "".join(error_line(call["id"], "Iterd.InvalidAnswer", cause % (len(batch), got)) for call in batch)
    return "".join(
        exception_line(call["id"], one) if isinstance(one, Exception) else result_line(call["id"], one)
        for call, one in zip(batch, result)
    )


def answerer(handler, tell):
    """From a line to its answer's line, or lines. `tell` writes what a handler says meanwhile."""
    second = takes_call(handler)
    loads = json.loads

    def answer(line):
        message = loads(line)
        try:
            result = handler(*arguments(message, second, tell))
        except Exception as error:
            return failure_lines(message, error)
        return result_lines(message, result)

    return answer


def serve_in_turn(handler, source, sink):
    answer = answerer(handler, lambda text: write_all(sink, text))
    for lines in messages(source):
        for line in lines:
            write_all(sink, answer(line))


class Threads:
    """Calls the handler in threads, or, where it is so quick that handing over costs more, in place.

    One thread drives: it reads the calls and hands them over, and calls the handler itself while
    all of late were quick. A second one watches meanwhile. Where a call in place takes longer, the
    watcher drives, so that no other call waits for it; the former driver watches when it is back.

    A thread that was handed a call never waits for the pipe: a write of its own would let go of the
    interpreter's lock once for each item. What they say gathers and is written by one of its own.
    """

    # What handing a call over and its answer back costs, about.
    QUICK_S = 40e-6

    # So many quick calls in a row, and the next is expected to be quick.
    QUICK_CALLS = 64

    # A call in place keeps the others waiting for no more than twice this.
    TICK_S = 1e-3

    def __init__(self, handler, source, sink):
        from collections import deque
        from queue import SimpleQueue
        from time import perf_counter, sleep

        self.now, self.sleep, self.sink = perf_counter, sleep, sink
        self.come, self.lines = messages(source), deque()
        self.calls, self.answers = SimpleQueue(), SimpleQueue()
        self.ended, self.woken = SimpleQueue(), SimpleQueue()
        self.answer = answerer(handler, self.answers.put)
        self.writing = threading.Lock()
        # Quick calls in a row.
        self.quick = 0
        # Held for the change of the three below, where both threads might.
        self.wheel = threading.Lock()
        self.driver = None
        # The driver is in a call.
        self.inside = False
        # Nobody watches: the former driver is in its call still.
        self.unwatched = False
        # Calls in place, so far.
        self.begun = 0
        # The watcher waits until there is something to watch.
        self.asleep = False

    def serve(self, in_flight):
        tasks = [self.work] * in_flight + [self.write, self.drive_first, self.watch_first]
        for task in tasks:
            threading.Thread(target=self.hold, args=(task,), daemon=True).start()
        self.ended.get()

    @staticmethod
    def hold(task):
        try:
            task()
        except BaseException:
            # SystemExit and the like: they end the worker, as they would in the main thread.
            traceback.print_exc()
            os._exit(1)

    def say(self, text):
        with self.writing:
            write_all(self.sink, text)

    def timed_answer(self, line):
        began = self.now()
        text = self.answer(line)
        self.quick = self.quick + 1 if self.now() - began < self.QUICK_S else 0
        return text

    def work(self):
        while True:
            self.answers.put(self.timed_answer(self.calls.get()))

    def write(self):
        while True:
            texts = [self.answers.get()]
            while len(texts) < 1024 and not self.answers.empty():
                texts.append(self.answers.get())
            self.say("".join(texts))

    def drive_first(self):
        while True:
            self.drive()
            self.watch()

    def watch_first(self):
        while True:
            self.watch()
            self.drive()

    def drive(self):
        """Returns where the watcher has taken over."""
        self.driver = threading.get_ident()
        while True:
            while self.lines:
                line = self.lines.popleft()
                if self.quick < self.QUICK_CALLS or self.unwatched:
                    self.calls.put(line)
                elif not self.call(line):
                    return
            lines = next(self.come, None)
            if lines is None:
                self.ended.put(None)
                threading.Event().wait()
            self.lines.extend(lines)

    def call(self, line):
        """Calls in place. Whether this thread still drives."""
        self.begun += 1
        self.inside = True
        # Why after that: the watcher looks once more before it sleeps.
        if self.asleep:
            self.asleep = False
            self.woken.put(None)
        text = self.timed_answer(line)
        with self.wheel:
            drives = self.driver == threading.get_ident()
            if drives:
                self.inside = False
        self.say(text)
        return drives

    def watch(self):
        """Returns where a call in place takes long: whoever watched has to drive now."""
        self.unwatched = False
        seen = None
        while True:
            if seen == self.begun and not self.inside:
                self.asleep = True
                if not self.inside:
                    self.woken.get()
            seen = self.begun
            self.sleep(self.TICK_S)
            with self.wheel:
                if self.inside and seen == self.begun:
                    self.driver, self.inside, self.unwatched = None, False, True
                    self.quick = 0
                    return


def serve_in_loop(handler, source, sink):
    """Coroutines: as many tasks as calls are in flight, which the daemon bounds."""
    import asyncio

    second = takes_call(handler)

    async def answer(line, answers):
        message = json.loads(line)
        try:
            result = await handler(*arguments(message, second, answers.put_nowait))
        except Exception as error:
            text = failure_lines(message, error)
        else:
            text = result_lines(message, result)
        answers.put_nowait(text)

    async def serve():
        loop = asyncio.get_running_loop()
        answers = asyncio.Queue()
        ended = asyncio.Event()
        tasks = set()

        def finished(task):
            tasks.discard(task)
            if not task.cancelled() and task.exception() is not None:
                error = task.exception()
                traceback.print_exception(type(error), error, error.__traceback__)
                os._exit(1)

        def take(lines):
            for line in lines:
                task = loop.create_task(answer(line, answers))
                tasks.add(task)
                task.add_done_callback(finished)

        def read():
            for lines in messages(source):
                loop.call_soon_threadsafe(take, lines)
            loop.call_soon_threadsafe(ended.set)

        async def write():
            while True:
                texts = [await answers.get()]
                while not answers.empty():
                    texts.append(answers.get_nowait())
                write_all(sink, "".join(texts))

        threading.Thread(target=read, daemon=True).start()
        writing = loop.create_task(write())
        await ended.wait()
        writing.cancel()

    asyncio.run(serve())


def main():
    source, sink = claim_protocol()
    file, function, in_flight = sys.argv[1], sys.argv[2], int(sys.argv[3])
    handler = load(file, function)
    write_all(sink, '{"ready":true}\n')
    if inspect.iscoroutinefunction(handler):
        serve_in_loop(handler, source, sink)
    elif in_flight > 1:
        Threads(handler, source, sink).serve(in_flight)
    else:
        serve_in_turn(handler, source, sink)


# A handler may start processes of its own, which import this file under another name.
if __name__ == "__main__":
    main()
