;; A decoder written by hand from schema/decoder-abi.md alone: it tells the target of every HTTP request as an event `http.target`, and counts them.
;;
;;   memory   1024 manifest   2048 last error   65536 in buffer, then lane 0, then lane 1
(module
  (import "env" "memory" (memory 4))
  ;; {"name":"target","version":"1.0.0","consumes":[32],"produces":[56]} with its length before it
  (data (i32.const 1024) "\31\00\00\00\84\a4name\a6target\a7version\a51.0.0\a8consumes\91\20\a8produces\91\38")
  (data (i32.const 2048) "\0e\00\00\00no such record")
  (data (i32.const 3072) "\99\38\abhttp.target")
  (data (i32.const 3104) "\00\81\a6target")
  (data (i32.const 3136) "\81\a8requests\ce")

  (global $in (mut i32) (i32.const 65536))
  (global $lane0 (mut i32) (i32.const 0))
  (global $lane1 (mut i32) (i32.const 0))
  (global $capacity (mut i32) (i32.const 0))
  (global $length (mut i32) (i32.const 0))
  (global $consumed (mut i32) (i32.const 0))
  (global $written (mut i32) (i32.const 0))
  (global $requests (mut i32) (i32.const 0))

  ;; Behind the msgpack value at $p; behind the end of the buffer when the value is cut off. A byte that is none counts for itself.
  (func $skip (param $p i32) (result i32)
    (local $left i32) (local $head i32) (local $size i32)
    (local.set $left (i32.const 1))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $left)))
        (local.set $left (i32.sub (local.get $left) (i32.const 1)))
        (local.set $head (i32.load8_u (local.get $p)))
        (local.set $size (i32.const 1))
        (if (i32.and (i32.ge_u (local.get $head) (i32.const 0x80)) (i32.lt_u (local.get $head) (i32.const 0x90)))
          (then (local.set $left (i32.add (local.get $left) (i32.shl (i32.and (local.get $head) (i32.const 15)) (i32.const 1))))))
        (if (i32.and (i32.ge_u (local.get $head) (i32.const 0x90)) (i32.lt_u (local.get $head) (i32.const 0xa0)))
          (then (local.set $left (i32.add (local.get $left) (i32.and (local.get $head) (i32.const 15))))))
        (if (i32.and (i32.ge_u (local.get $head) (i32.const 0xa0)) (i32.lt_u (local.get $head) (i32.const 0xc0)))
          (then (local.set $size (i32.add (i32.const 1) (i32.and (local.get $head) (i32.const 31))))))
        ;; bin and str of 8, 16 and 32 bits
        (if (i32.or (i32.eq (local.get $head) (i32.const 0xc4)) (i32.eq (local.get $head) (i32.const 0xd9)))
          (then (local.set $size (i32.add (i32.const 2) (i32.load8_u offset=1 (local.get $p))))))
        (if (i32.or (i32.eq (local.get $head) (i32.const 0xc5)) (i32.eq (local.get $head) (i32.const 0xda)))
          (then (local.set $size (i32.add (i32.const 3) (call $big16 (i32.add (local.get $p) (i32.const 1)))))))
        (if (i32.or (i32.eq (local.get $head) (i32.const 0xc6)) (i32.eq (local.get $head) (i32.const 0xdb)))
          (then (local.set $size (i32.add (i32.const 5) (call $big32 (i32.add (local.get $p) (i32.const 1)))))))
        ;; float32, float64, uint8 to uint64, int8 to int64
        (if (i32.eq (local.get $head) (i32.const 0xca)) (then (local.set $size (i32.const 5))))
        (if (i32.eq (local.get $head) (i32.const 0xcb)) (then (local.set $size (i32.const 9))))
        (if (i32.and (i32.ge_u (local.get $head) (i32.const 0xcc)) (i32.le_u (local.get $head) (i32.const 0xd3)))
          (then (local.set $size (i32.add (i32.const 1) (i32.shl (i32.const 1) (i32.and (local.get $head) (i32.const 3)))))))
        ;; array16 and array32
        (if (i32.eq (local.get $head) (i32.const 0xdc))
          (then
            (local.set $size (i32.const 3))
            (local.set $left (i32.add (local.get $left) (call $big16 (i32.add (local.get $p) (i32.const 1)))))))
        (if (i32.eq (local.get $head) (i32.const 0xdd))
          (then
            (local.set $size (i32.const 5))
            (local.set $left (i32.add (local.get $left) (call $big32 (i32.add (local.get $p) (i32.const 1)))))))
        (local.set $p (i32.add (local.get $p) (local.get $size)))
        ;; Lengths may lie: nothing behind the buffer is read.
        (br_if $done (i32.ge_u (local.get $p) (i32.add (global.get $in) (global.get $length))))
        (br $next)))
    (if (local.get $left) (then (return (i32.add (i32.add (global.get $in) (global.get $length)) (i32.const 1)))))
    (local.get $p))

  (func $big16 (param $p i32) (result i32)
    (i32.or (i32.shl (i32.load8_u (local.get $p)) (i32.const 8)) (i32.load8_u offset=1 (local.get $p))))
  (func $big32 (param $p i32) (result i32)
    (i32.or (i32.shl (call $big16 (local.get $p)) (i32.const 16)) (call $big16 (i32.add (local.get $p) (i32.const 2)))))

  ;; How many elements the record at $p has; 0 when it is no array.
  (func $arity (param $p i32) (result i32)
    (local $head i32)
    (local.set $head (i32.load8_u (local.get $p)))
    (if (i32.eq (i32.shr_u (local.get $head) (i32.const 4)) (i32.const 9)) (then (return (i32.and (local.get $head) (i32.const 15)))))
    (if (i32.eq (local.get $head) (i32.const 0xdc)) (then (return (call $big16 (i32.add (local.get $p) (i32.const 1))))))
    (if (i32.eq (local.get $head) (i32.const 0xdd)) (then (return (call $big32 (i32.add (local.get $p) (i32.const 1))))))
    (i32.const 0))

  ;; Behind the element of that number, the kind being 0, of the record at $p.
  (func $element (param $p i32) (param $number i32) (result i32)
    (local $head i32)
    (local.set $head (i32.load8_u (local.get $p)))
    (local.set $p
      (i32.add (local.get $p)
        (if (result i32) (i32.eq (local.get $head) (i32.const 0xdc)) (then (i32.const 3))
          (else (if (result i32) (i32.eq (local.get $head) (i32.const 0xdd)) (then (i32.const 5)) (else (i32.const 1)))))))
    (block $done
      (loop $next
        (br_if $done (i32.eqz (local.get $number)))
        (local.set $p (call $skip (local.get $p)))
        (local.set $number (i32.sub (local.get $number) (i32.const 1)))
        (br $next)))
    (local.get $p))

  (func $write (param $from i32) (param $bytes i32)
    (memory.copy (i32.add (global.get $lane1) (global.get $written)) (local.get $from) (local.get $bytes))
    (global.set $written (i32.add (global.get $written) (local.get $bytes))))
  ;; A value of the record, as it is encoded there.
  (func $copy (param $record i32) (param $number i32)
    (local $from i32)
    (local.set $from (call $element (local.get $record) (local.get $number)))
    (call $write (local.get $from) (i32.sub (call $skip (local.get $from)) (local.get $from))))

  ;; Decodes from $consumed on, until the lane has no room for one more event.
  (func $run (result i32)
    (local $at i32) (local $next i32) (local $end i32)
    (global.set $written (i32.const 0))
    (local.set $end (i32.add (global.get $in) (global.get $length)))
    (block $done
      (loop $record
        (local.set $at (i32.add (global.get $in) (global.get $consumed)))
        (br_if $done (i32.ge_u (local.get $at) (local.get $end)))
        (local.set $next (call $skip (local.get $at)))
        (if (i32.gt_u (local.get $next) (local.get $end)) (then (return (i32.const -1))))
        ;; kind 32, http.head, with all elements up to its origin, of message 0, a request
        (if (if (result i32) (i32.lt_u (call $arity (local.get $at)) (i32.const 14)) (then (i32.const 0))
              (else (i32.and
                (i32.eq (i32.load8_u (call $element (local.get $at) (i32.const 0))) (i32.const 32))
                (i32.eqz (i32.load8_u (call $element (local.get $at) (i32.const 3)))))))
          (then
            (br_if $done (i32.gt_u (i32.add (i32.add (global.get $written) (i32.const 64)) (i32.sub (local.get $next) (local.get $at))) (global.get $capacity)))
            (call $write (i32.const 3072) (i32.const 14))
            (call $copy (local.get $at) (i32.const 6))
            (call $copy (local.get $at) (i32.const 13))
            (call $copy (local.get $at) (i32.const 1))
            (call $copy (local.get $at) (i32.const 2))
            (call $write (i32.const 3104) (i32.const 9))
            (call $copy (local.get $at) (i32.const 9))
            (i32.store8 (i32.add (global.get $lane1) (global.get $written)) (i32.const 0x80))
            (global.set $written (i32.add (global.get $written) (i32.const 1)))
            (global.set $requests (i32.add (global.get $requests) (i32.const 1)))))
        (global.set $consumed (i32.sub (local.get $next) (global.get $in)))
        (br $record)))
    (i32.const 0))

  (func (export "oisp_abi") (result i32) (i32.const 0x00010000))
  (func (export "oisp_manifest") (result i32) (i32.const 1024))
  (func (export "oisp_last_error") (result i32) (i32.const 2048))
  (func (export "oisp_init") (param $inCap i32) (param $outCap i32) (param $flags i32) (param $conns i32) (result i32)
    (local $need i32)
    (global.set $lane0 (i32.add (global.get $in) (local.get $inCap)))
    (global.set $lane1 (i32.add (global.get $lane0) (local.get $outCap)))
    (global.set $capacity (local.get $outCap))
    (local.set $need (i32.div_u (i32.add (i32.add (global.get $lane1) (local.get $outCap)) (i32.const 131071)) (i32.const 65536)))
    (if (i32.gt_s (i32.sub (local.get $need) (memory.size)) (i32.const 0))
      (then (if (i32.eq (memory.grow (i32.sub (local.get $need) (memory.size))) (i32.const -1)) (then (return (i32.const -1))))))
    (i32.const 0))
  (func (export "oisp_in") (result i32) (global.get $in))
  (func (export "oisp_out") (param i32) (result i32) (if (result i32) (local.get 0) (then (global.get $lane1)) (else (global.get $lane0))))
  (func (export "oisp_process") (param $len i32) (result i32)
    (global.set $length (local.get $len))
    (global.set $consumed (i32.const 0))
    (call $run))
  (func (export "oisp_resume") (result i32) (call $run))
  (func (export "oisp_consumed") (result i32) (global.get $consumed))
  (func (export "oisp_out_len") (param i32) (result i32) (if (result i32) (local.get 0) (then (global.get $written)) (else (i32.const 0))))
  (func (export "oisp_tick") (param i32) (result i32) (global.set $written (i32.const 0)) (i32.const 0))
  (func (export "oisp_flush") (result i32) (global.set $written (i32.const 0)) (i32.const 0))
  (func (export "oisp_stats") (result i32)
    (memory.copy (global.get $lane1) (i32.const 3136) (i32.const 11))
    (i32.store8 offset=11 (global.get $lane1) (i32.shr_u (global.get $requests) (i32.const 24)))
    (i32.store8 offset=12 (global.get $lane1) (i32.shr_u (global.get $requests) (i32.const 16)))
    (i32.store8 offset=13 (global.get $lane1) (i32.shr_u (global.get $requests) (i32.const 8)))
    (i32.store8 offset=14 (global.get $lane1) (global.get $requests))
    (i32.const 15)))
