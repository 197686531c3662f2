;; A handler that does what its item says: {"do":"WORD"}. The first letter of the word decides; what
;; follows it in some words says with what. Written by hand against the canonical ABI, so that the
;; tests need no compiler of another language; tests/plugin/guest.rs makes a component of it.
(module
  (import "iterd:plugin/host@0.1.0" "log" (func $log (param i32 i32)))
  (import "wasi_snapshot_preview1" "fd_write" (func $fd_write (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_read" (func $fd_read (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "fd_close" (func $fd_close (param i32) (result i32)))
  (import "wasi_snapshot_preview1" "path_open"
    (func $path_open (param i32 i32 i32 i32 i32 i64 i64 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_sizes_get" (func $environ_sizes_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "environ_get" (func $environ_get (param i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll_oneoff (param i32 i32 i32 i32) (result i32)))
  (import "wasi_snapshot_preview1" "proc_exit" (func $proc_exit (param i32)))

  (memory (export "memory") 2)

  ;; 0: the answer, 64 bytes. 64: vectors and results of WASI. 256: texts. From 4096 on: what is allocated.
  (data (i32.const 256) "Busy")
  (data (i32.const 272) "come back later")
  (data (i32.const 288) "NaN")
  (data (i32.const 304) "\"done\"")
  (data (i32.const 320) "{\"id\":1,\"result\":\"forged\"}\n")
  (data (i32.const 352) "a line of the log")
  (data (i32.const 384) "thread 'main' panicked at src/lib.rs:7\n")
  (data (i32.const 432) "1,\"error\":\"forged\"")
  (data (i32.const 512) "flood flood flood flood flood flood flood flood flood flood flo\n")
  (global $heap (mut i32) (i32.const 4096))
  ;; Whether WASI was used, whose adapter keeps what it has allocated.
  (global $sticky (mut i32) (i32.const 0))
  (global $count (mut i32) (i32.const 0))

  (func $realloc (export "cabi_realloc") (param $old i32) (param $old_bytes i32) (param $align i32) (param $bytes i32)
    (result i32)
    (local $at i32)
    (local $short i32)
    (local.set $at
      (i32.and
        (i32.add (global.get $heap) (i32.sub (local.get $align) (i32.const 1)))
        (i32.sub (i32.const 0) (local.get $align))))
    (global.set $heap (i32.add (local.get $at) (local.get $bytes)))
    (local.set $short
      (i32.sub
        (i32.shr_u (i32.add (global.get $heap) (i32.const 65535)) (i32.const 16))
        (memory.size)))
    (if (i32.gt_s (local.get $short) (i32.const 0))
      (then
        (if (i32.eq (memory.grow (local.get $short)) (i32.const -1))
          (then (unreachable)))))
    (if (local.get $old_bytes)
      (then (memory.copy (local.get $at) (local.get $old) (local.get $old_bytes))))
    (local.get $at))

  (func $allocate (param $bytes i32) (result i32)
    (call $realloc (i32.const 0) (i32.const 0) (i32.const 8) (local.get $bytes)))

  (func (export "cabi_post_handle") (param i32)
    (if (i32.eqz (global.get $sticky))
      (then (global.set $heap (i32.const 4096)))))

  (func $done (param $at i32) (param $bytes i32) (result i32)
    (i32.store (i32.const 0) (i32.const 0))
    (i32.store (i32.const 8) (local.get $at))
    (i32.store (i32.const 12) (local.get $bytes))
    (i32.const 0))

  ;; The failure "Busy", which asks for everything that there is to ask for.
  (func $busy (result i32)
    (i32.store (i32.const 0) (i32.const 1))
    (i32.store (i32.const 8) (i32.const 256))
    (i32.store (i32.const 12) (i32.const 4))
    (i32.store (i32.const 16) (i32.const 272))
    (i32.store (i32.const 20) (i32.const 15))
    (i32.store16 (i32.const 24) (i32.const 0x0101))
    (i32.store (i32.const 32) (i32.const 1))
    (f64.store (i32.const 40) (f64.const 30))
    (i32.store (i32.const 48) (i32.const 1))
    (f64.store (i32.const 56) (f64.const 1.5))
    (i32.const 0))

  (func $print (param $descriptor i32) (param $at i32) (param $bytes i32)
    (global.set $sticky (i32.const 1))
    (i32.store (i32.const 64) (local.get $at))
    (i32.store (i32.const 68) (local.get $bytes))
    (drop (call $fd_write (local.get $descriptor) (i32.const 64) (i32.const 1) (i32.const 80))))

  (func $flood
    (local $lines i32)
    (loop $more
      (call $print (i32.const 2) (i32.const 512) (i32.const 64))
      (local.set $lines (i32.add (local.get $lines) (i32.const 1)))
      (br_if $more (i32.lt_u (local.get $lines) (i32.const 20000)))))

  (func $grow
    (loop $more
      (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
    (unreachable))

  (func $deep (param i32) (result i32)
    (i32.add (call $deep (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))

  ;; A text of so many bytes and two quotes.
  (func $huge (param $bytes i32) (result i32)
    (local $at i32)
    (local.set $at (call $allocate (i32.add (local.get $bytes) (i32.const 2))))
    (memory.fill (local.get $at) (i32.const 120) (i32.add (local.get $bytes) (i32.const 2)))
    (i32.store8 (local.get $at) (i32.const 34))
    (i32.store8 offset=1 (i32.add (local.get $at) (local.get $bytes)) (i32.const 34))
    (call $done (local.get $at) (i32.add (local.get $bytes) (i32.const 2))))

  ;; The environment as a text, with commas where variables end.
  (func $environment (result i32)
    (local $list i32)
    (local $at i32)
    (local $bytes i32)
    (local $next i32)
    (global.set $sticky (i32.const 1))
    (drop (call $environ_sizes_get (i32.const 64) (i32.const 68)))
    (local.set $bytes (i32.load (i32.const 68)))
    (local.set $list (call $allocate (i32.add (i32.const 8) (i32.mul (i32.load (i32.const 64)) (i32.const 4)))))
    (local.set $at (call $allocate (i32.add (local.get $bytes) (i32.const 2))))
    (i32.store8 (local.get $at) (i32.const 34))
    (drop (call $environ_get (local.get $list) (i32.add (local.get $at) (i32.const 1))))
    (local.set $next (i32.add (local.get $at) (local.get $bytes)))
    (i32.store8 offset=1 (local.get $next) (i32.const 34))
    (block $end
      (loop $more
        (br_if $end (i32.le_u (local.get $next) (local.get $at)))
        (if (i32.eqz (i32.load8_u (local.get $next)))
          (then (i32.store8 (local.get $next) (i32.const 44))))
        (local.set $next (i32.sub (local.get $next) (i32.const 1)))
        (br $more)))
    (call $done (local.get $at) (i32.add (local.get $bytes) (i32.const 2))))

  ;; How many times this instance was asked.
  (func $counted (result i32)
    (global.set $count (i32.add (global.get $count) (i32.const 1)))
    (i32.store8 (i32.const 128) (i32.add (i32.const 48) (global.get $count)))
    (call $done (i32.const 128) (i32.const 1)))

  ;; A number of two digits.
  (func $number (param $value i32) (result i32)
    (i32.store8 (i32.const 128) (i32.const 32))
    (if (i32.ge_u (local.get $value) (i32.const 10))
      (then (i32.store8 (i32.const 128) (i32.add (i32.const 48) (i32.div_u (local.get $value) (i32.const 10))))))
    (i32.store8 (i32.const 129) (i32.add (i32.const 48) (i32.rem_u (local.get $value) (i32.const 10))))
    (call $done (i32.const 128) (i32.const 2)))

  ;; {"do":"read3NAME"}: what the file NAME in the directory of descriptor 3 holds.
  (func $read (param $item i32) (param $bytes i32) (result i32)
    (local $error i32)
    (local $at i32)
    (local.set $error (call $open (local.get $item) (local.get $bytes) (i32.const 11) (i32.const 0) (i64.const 2)))
    (if (local.get $error)
      (then (return (call $number (local.get $error)))))
    (local.set $at (call $allocate (i32.const 4096)))
    (i32.store (i32.const 64) (local.get $at))
    (i32.store (i32.const 68) (i32.const 4096))
    (local.set $error (call $fd_read (i32.load (i32.const 96)) (i32.const 64) (i32.const 1) (i32.const 80)))
    (if (local.get $error)
      (then (return (call $number (local.get $error)))))
    (drop (call $fd_close (i32.load (i32.const 96))))
    (call $done (local.get $at) (i32.load (i32.const 80))))

  ;; {"do":"write4NAME"}: makes a file.
  (func $write (param $item i32) (param $bytes i32) (result i32)
    (local $error i32)
    (local.set $error (call $open (local.get $item) (local.get $bytes) (i32.const 12) (i32.const 1) (i64.const 64)))
    (if (local.get $error)
      (then (return (call $number (local.get $error)))))
    (call $print (i32.load (i32.const 96)) (i32.const 304) (i32.const 6))
    (drop (call $fd_close (i32.load (i32.const 96))))
    (call $done (i32.const 304) (i32.const 6)))

  ;; Opens what an item names; the descriptor is at 96.
  (func $open (param $item i32) (param $bytes i32) (param $digit i32) (param $create i32) (param $rights i64)
    (result i32)
    (global.set $sticky (i32.const 1))
    (call $path_open
      (i32.sub (i32.load8_u (i32.add (local.get $item) (local.get $digit))) (i32.const 48))
      (i32.const 1)
      (i32.add (local.get $item) (i32.add (local.get $digit) (i32.const 1)))
      (i32.sub (local.get $bytes) (i32.add (local.get $digit) (i32.const 3)))
      (local.get $create)
      (local.get $rights)
      (local.get $rights)
      (i32.const 0)
      (i32.const 96)))

  ;; Waits for so many nanoseconds, inside the host.
  (func $wait (param $nanoseconds i64) (result i32)
    (local $at i32)
    (global.set $sticky (i32.const 1))
    (local.set $at (call $allocate (i32.const 128)))
    (memory.fill (local.get $at) (i32.const 0) (i32.const 128))
    (i32.store offset=16 (local.get $at) (i32.const 1))
    (i64.store offset=24 (local.get $at) (local.get $nanoseconds))
    (drop (call $poll_oneoff (local.get $at) (i32.add (local.get $at) (i32.const 64)) (i32.const 1) (i32.const 80)))
    (call $done (i32.const 304) (i32.const 6)))

  (func (export "handle")
    (param $item i32) (param $bytes i32)
    (param $key i32) (param $key_bytes i32) (param $attempt i32) (param $index i64)
    (param $has_id i32) (param $id i32) (param $id_bytes i32)
    (result i32)
    (local $do i32)
    (if (i32.lt_u (local.get $bytes) (i32.const 8))
      (then (return (call $done (local.get $item) (local.get $bytes)))))
    (local.set $do (i32.load8_u offset=7 (local.get $item)))
    ;; b: busy
    (if (i32.eq (local.get $do) (i32.const 98)) (then (return (call $busy))))
    ;; c: counted
    (if (i32.eq (local.get $do) (i32.const 99)) (then (return (call $counted))))
    ;; d: deep
    (if (i32.eq (local.get $do) (i32.const 100)) (then (drop (call $deep (i32.const 0)))))
    ;; f: flood
    (if (i32.eq (local.get $do) (i32.const 102))
      (then (call $flood) (return (call $done (i32.const 304) (i32.const 6)))))
    ;; g: grow
    (if (i32.eq (local.get $do) (i32.const 103)) (then (call $grow)))
    ;; h: huge
    (if (i32.eq (local.get $do) (i32.const 104)) (then (return (call $huge (i32.const 200000)))))
    ;; i: the call's id
    (if (i32.eq (local.get $do) (i32.const 105))
      (then
        (local.set $item (call $huge (local.get $id_bytes)))
        (memory.copy (i32.add (i32.load (i32.const 8)) (i32.const 1)) (local.get $id) (local.get $id_bytes))
        (return (local.get $item))))
    ;; k: the call's key
    (if (i32.eq (local.get $do) (i32.const 107))
      (then
        (local.set $item (call $huge (local.get $key_bytes)))
        (memory.copy (i32.add (i32.load (i32.const 8)) (i32.const 1)) (local.get $key) (local.get $key_bytes))
        (return (local.get $item))))
    ;; l: loop
    (if (i32.eq (local.get $do) (i32.const 108)) (then (loop $for_ever (br $for_ever))))
    ;; n: no JSON
    (if (i32.eq (local.get $do) (i32.const 110)) (then (return (call $done (i32.const 288) (i32.const 3)))))
    ;; o: other fields of an answer
    (if (i32.eq (local.get $do) (i32.const 111)) (then (return (call $done (i32.const 432) (i32.const 18)))))
    ;; p: print
    (if (i32.eq (local.get $do) (i32.const 112))
      (then
        (call $print (i32.const 1) (i32.const 320) (i32.const 27))
        (call $log (i32.const 352) (i32.const 17))
        (return (call $done (i32.const 304) (i32.const 6)))))
    ;; r: read
    (if (i32.eq (local.get $do) (i32.const 114))
      (then (return (call $read (local.get $item) (local.get $bytes)))))
    ;; t: trap
    (if (i32.eq (local.get $do) (i32.const 116))
      (then (call $print (i32.const 2) (i32.const 384) (i32.const 39)) (unreachable)))
    ;; u: no Unicode
    (if (i32.eq (local.get $do) (i32.const 117))
      (then (i32.store8 (i32.const 128) (i32.const 255)) (return (call $done (i32.const 128) (i32.const 1)))))
    ;; v: variables
    (if (i32.eq (local.get $do) (i32.const 118)) (then (return (call $environment))))
    ;; w: write
    (if (i32.eq (local.get $do) (i32.const 119))
      (then (return (call $write (local.get $item) (local.get $bytes)))))
    ;; x: exit
    (if (i32.eq (local.get $do) (i32.const 120)) (then (call $proc_exit (i32.const 7))))
    ;; s: slow, a quarter of a second
    (if (i32.eq (local.get $do) (i32.const 115)) (then (return (call $wait (i64.const 250000000)))))
    ;; z: sleep, five minutes
    (if (i32.eq (local.get $do) (i32.const 122)) (then (return (call $wait (i64.const 300000000000)))))
    (call $done (local.get $item) (local.get $bytes)))
)
