// SPDX-License-Identifier: Apache-2.0
// The addon's JavaScript face (host/src/sources/ebpf/native.ts declares it); the only file that knows N-API. It never calls libbpf.
//
//     main thread:    Sensor methods ......... call_js -> onBatch(batch), at the end onDone()
//     reader thread:  RingReader -> JsSink.deliver -> thread-safe function (its queue is bounded by the reader's credit) -^
#include <napi.h>

#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "privileges.h"
#include "ring_reader.h"
#include "sensor.h"
#include "startup_memory.h"

namespace oisp {
namespace {

void throw_failure(Napi::Env env, const Failure& failure) {
  const char* name = strerrorname_np(failure.code);
  Napi::Error error = Napi::Error::New(env, failure.message);
  error.Set("code", Napi::String::New(env, name ? name : "EUNKNOWN"));
  error.Set("log", Napi::String::New(env, failure.log));
  error.ThrowAsJavaScriptException();
}

Napi::Number number(Napi::Env env, uint64_t value) { return Napi::Number::New(env, static_cast<double>(value)); }

Napi::Number number(Napi::Env env, const std::atomic<uint64_t>& value) { return number(env, value.load(std::memory_order_relaxed)); }

Napi::Value reduce_privileges_of_process(const Napi::CallbackInfo& info) {
  bool whole = false;
  uint64_t keep = info[0].As<Napi::BigInt>().Uint64Value(&whole);
  if (Failure failure = reduce_privileges(keep)) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

// Runs a callback after the current JavaScript, so that a caller never sees it inside its own call.
void call_soon(Napi::Env env, Napi::Function callback) {
  Napi::Object global = env.Global();
  global.Get("queueMicrotask").As<Napi::Function>().Call(global, {callback});
}

oisp_scope_cell scope_cell(const Napi::Value& value) {
  Napi::Object given = value.As<Napi::Object>();
  auto flag = [&](const char* name) -> uint32_t { return given.Get(name).As<Napi::Boolean>().Value(); };
  return {flag("capture"), flag("inherit"), flag("files"), 0};
}

uint64_t number64(const Napi::Value& value) {
  bool whole = false;
  return value.As<Napi::BigInt>().Uint64Value(&whole);
}

class SensorWrap : public Napi::ObjectWrap<SensorWrap>, public BatchSink {
 public:
  static Napi::Function define(Napi::Env env) {
    return DefineClass(env, "Sensor",
                       {
                           InstanceMethod<&SensorWrap::load>("load"),
                           InstanceMethod<&SensorWrap::layout>("layout"),
                           InstanceMethod<&SensorWrap::attach_uprobe>("attachUprobe"),
                           InstanceMethod<&SensorWrap::detach>("detach"),
                           InstanceMethod<&SensorWrap::uprobe_means>("uprobeMeans"),
                           InstanceMethod<&SensorWrap::scope_add>("scopeAdd"),
                           InstanceMethod<&SensorWrap::scope_remove>("scopeRemove"),
                           InstanceMethod<&SensorWrap::scope_add_comm>("scopeAddComm"),
                           InstanceMethod<&SensorWrap::scope_add_exe>("scopeAddExe"),
                           InstanceMethod<&SensorWrap::scope_add_uid>("scopeAddUid"),
                           InstanceMethod<&SensorWrap::scope_add_cgroup>("scopeAddCgroup"),
                           InstanceMethod<&SensorWrap::scope_remove_exe>("scopeRemoveExe"),
                           InstanceMethod<&SensorWrap::scope_remove_cgroup>("scopeRemoveCgroup"),
                           InstanceMethod<&SensorWrap::set_capture_all>("setCaptureAll"),
                           InstanceMethod<&SensorWrap::set_files_all>("setFilesAll"),
                           InstanceMethod<&SensorWrap::gate_add>("gateAdd"),
                           InstanceMethod<&SensorWrap::sweep_files>("sweepFiles"),
                           InstanceMethod<&SensorWrap::add_plain_port>("addPlainPort"),
                           InstanceMethod<&SensorWrap::verdict>("verdict"),
                           InstanceMethod<&SensorWrap::set_rate>("setRate"),
                           InstanceMethod<&SensorWrap::set_file_telling>("setFileTelling"),
                           InstanceMethod<&SensorWrap::start>("start"),
                           InstanceMethod<&SensorWrap::credit>("credit"),
                           InstanceMethod<&SensorWrap::stats>("stats"),
                           InstanceMethod<&SensorWrap::stop>("stop"),
                           InstanceMethod<&SensorWrap::close>("close"),
                       });
  }

  explicit SensorWrap(const Napi::CallbackInfo& info);
  ~SensorWrap() override { end_thread(); }

 private:
  // What the reader thread sends; no batch: it has finished.
  struct Item {
    std::unique_ptr<Batch> batch;
  };

  // Methods of the JavaScript class.
  Napi::Value load(const Napi::CallbackInfo& info);
  Napi::Value layout(const Napi::CallbackInfo& info);
  Napi::Value attach_uprobe(const Napi::CallbackInfo& info);
  Napi::Value detach(const Napi::CallbackInfo& info);
  Napi::Value uprobe_means(const Napi::CallbackInfo& info);
  Napi::Value scope_add(const Napi::CallbackInfo& info);
  Napi::Value scope_remove(const Napi::CallbackInfo& info);
  Napi::Value scope_add_comm(const Napi::CallbackInfo& info);
  Napi::Value scope_add_exe(const Napi::CallbackInfo& info);
  Napi::Value scope_add_uid(const Napi::CallbackInfo& info);
  Napi::Value scope_add_cgroup(const Napi::CallbackInfo& info);
  Napi::Value scope_remove_exe(const Napi::CallbackInfo& info);
  Napi::Value scope_remove_cgroup(const Napi::CallbackInfo& info);
  Napi::Value set_capture_all(const Napi::CallbackInfo& info);
  Napi::Value set_files_all(const Napi::CallbackInfo& info);
  Napi::Value gate_add(const Napi::CallbackInfo& info);
  Napi::Value sweep_files(const Napi::CallbackInfo& info);
  Napi::Value add_plain_port(const Napi::CallbackInfo& info);
  Napi::Value verdict(const Napi::CallbackInfo& info);
  Napi::Value set_rate(const Napi::CallbackInfo& info);
  Napi::Value set_file_telling(const Napi::CallbackInfo& info);
  Napi::Value start(const Napi::CallbackInfo& info);
  Napi::Value credit(const Napi::CallbackInfo& info);
  Napi::Value stats(const Napi::CallbackInfo& info);
  Napi::Value stop(const Napi::CallbackInfo& info);
  Napi::Value close(const Napi::CallbackInfo& info);

  Napi::Object ring_stats(Napi::Env env) const;
  Napi::Object batch_stats(Napi::Env env) const;

  // BatchSink, on the reader thread.
  void deliver(std::unique_ptr<Batch> batch) override;
  size_t waiting() const override { return waiting_.load(std::memory_order_relaxed); }
  void finished() override { send(new Item{nullptr}); }
  void send(Item* item);

  // On the main thread.
  static void call_js(napi_env env, napi_value on_batch, void* context, void* data);
  void pass_on(Napi::Env env, Napi::Function on_batch, std::unique_ptr<Batch> batch);
  void on_finished(Napi::Env env);
  bool create_function(Napi::Env env, Napi::Function on_batch);
  static void on_env_cleanup(void* self) { static_cast<SensorWrap*>(self)->end_thread(); }
  void end_thread();
  void leave_running(Napi::Env env);
  void tell_done(Napi::Env env);

  std::string object_path_;
  bool capture_all_ = false;
  ReaderOptions options_{};
  Sensor sensor_;
  std::unique_ptr<RingReader> reader_;
  napi_threadsafe_function function_ = nullptr;  // set while running
  std::atomic<size_t> waiting_{0};
  std::vector<Napi::FunctionReference> on_done_;
  Napi::Reference<Napi::Uint8Array> memory_;  // keeps what the reader writes into
};

SensorWrap::SensorWrap(const Napi::CallbackInfo& info) : Napi::ObjectWrap<SensorWrap>(info) {
  Napi::Object given = info[0].As<Napi::Object>();
  auto whole = [&](const char* name) { return static_cast<size_t>(given.Get(name).As<Napi::Number>().Int64Value()); };
  object_path_ = given.Get("objectPath").As<Napi::String>().Utf8Value();
  capture_all_ = given.Get("captureAll").As<Napi::Boolean>().Value();
  options_.shards = static_cast<uint32_t>(whole("shards"));
  options_.ring_bytes = whole("ringBytes");
  options_.batch_bytes = whole("batchBytes");
  options_.flush_ms = static_cast<uint32_t>(whole("flushMs"));
  options_.max_in_flight_bytes = whole("maxInFlightBytes");
  if (Napi::Value memory = given.Get("memory"); memory.IsTypedArray()) {
    Napi::Uint8Array bytes = memory.As<Napi::Uint8Array>();
    options_.shared = {bytes.Data(), bytes.ByteLength()};
    memory_ = Napi::Reference<Napi::Uint8Array>::New(bytes, 1);
  }
}

Napi::Value SensorWrap::load(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.load(object_path_, static_cast<uint32_t>(options_.ring_bytes), capture_all_)) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::layout(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::optional<StructLayout> found = sensor_.layout(info[0].As<Napi::String>().Utf8Value());
  if (!found) return env.Undefined();
  Napi::Array fields = Napi::Array::New(env, found->fields.size());
  for (size_t i = 0; i < found->fields.size(); i++) {
    Napi::Object field = Napi::Object::New(env);
    field.Set("name", found->fields[i].name);
    field.Set("offset", number(env, found->fields[i].offset));
    field.Set("size", number(env, found->fields[i].size));
    fields.Set(static_cast<uint32_t>(i), field);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("size", number(env, found->size));
  result.Set("fields", fields);
  return result;
}

Napi::Value SensorWrap::attach_uprobe(const Napi::CallbackInfo& info) {
  int link = 0;
  ProbePlace place;
  place.offset = static_cast<uint64_t>(info[2].As<Napi::Number>().Int64Value());
  place.is_return = info[3].As<Napi::Boolean>().Value();
  place.target = info[4].As<Napi::Number>().Uint32Value();
  Failure failure = sensor_.attach_uprobe(info[0].As<Napi::String>().Utf8Value(), info[1].As<Napi::String>().Utf8Value(), place, &link);
  if (failure) throw_failure(info.Env(), failure);
  return Napi::Number::New(info.Env(), link);
}

Napi::Value SensorWrap::detach(const Napi::CallbackInfo& info) {
  sensor_.detach(info[0].As<Napi::Number>().Int32Value());
  return info.Env().Undefined();
}

Napi::Value SensorWrap::uprobe_means(const Napi::CallbackInfo& info) {
  return Napi::String::New(info.Env(), sensor_.means() == UprobeMeans::kMulti ? "uprobe_multi" : "perf_event");
}

Napi::Value SensorWrap::scope_add(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_add(info[0].As<Napi::Number>().Uint32Value(), scope_cell(info[1]))) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_add_exe(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_add_exe({number64(info[0]), number64(info[1])}, scope_cell(info[2]))) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_add_uid(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_add_uid(info[0].As<Napi::Number>().Uint32Value(), scope_cell(info[1]))) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_add_cgroup(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_add_cgroup(number64(info[0]), scope_cell(info[1]))) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_remove_exe(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_remove_exe({number64(info[0]), number64(info[1])})) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_remove_cgroup(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_remove_cgroup(number64(info[0]))) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_remove(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_remove(info[0].As<Napi::Number>().Uint32Value())) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::scope_add_comm(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.scope_add_comm(info[0].As<Napi::String>().Utf8Value())) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::set_capture_all(const Napi::CallbackInfo& info) {
  capture_all_ = info[0].As<Napi::Boolean>().Value();
  sensor_.set_capture_all(capture_all_);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::set_files_all(const Napi::CallbackInfo& info) {
  sensor_.set_files_all(info[0].As<Napi::Boolean>().Value());
  return info.Env().Undefined();
}

Napi::Value SensorWrap::gate_add(const Napi::CallbackInfo& info) {
  sensor_.gate_add(info[0].As<Napi::Number>().Uint32Value(), static_cast<uint8_t>(info[1].As<Napi::Number>().Uint32Value()));
  return info.Env().Undefined();
}

Napi::Value SensorWrap::sweep_files(const Napi::CallbackInfo& info) {
  if (Failure failure = sensor_.sweep_files(false)) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::set_file_telling(const Napi::CallbackInfo& info) {
  Napi::Object given = info[0].As<Napi::Object>();
  auto number = [&](const char* name) { return given.Get(name).As<Napi::Number>().Uint32Value(); };
  sensor_.set_file_telling({number("interimMs"), number("reads"), number("opens")});
  return info.Env().Undefined();
}

Napi::Value SensorWrap::add_plain_port(const Napi::CallbackInfo& info) {
  Failure failure = sensor_.add_plain_port(static_cast<uint16_t>(info[0].As<Napi::Number>().Uint32Value()));
  if (failure) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::verdict(const Napi::CallbackInfo& info) {
  bool exact = false;
  ConnectionName name{};
  name.tgid = info[0].As<Napi::Number>().Uint32Value();
  name.ssl = info[1].As<Napi::BigInt>().Uint64Value(&exact);
  name.generation = info[2].As<Napi::BigInt>().Uint64Value(&exact);
  if (Failure failure = sensor_.set_verdict(name, info[3].As<Napi::Number>().Uint32Value())) throw_failure(info.Env(), failure);
  return info.Env().Undefined();
}

Napi::Value SensorWrap::set_rate(const Napi::CallbackInfo& info) {
  sensor_.set_rate(static_cast<uint64_t>(info[0].As<Napi::Number>().Int64Value()));
  return info.Env().Undefined();
}

// From here to on_finished() (or close()) the object and the event loop stay alive.
Napi::Value SensorWrap::start(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!sensor_.loaded() || reader_) {
    throw_failure(env, {reader_ ? EALREADY : ENOTCONN, reader_ ? "start: started before" : "start: not loaded", {}});
    return env.Undefined();
  }
  if (!create_function(env, info[0].As<Napi::Function>())) return env.Undefined();
  reader_ = std::make_unique<RingReader>(options_, sensor_.control(), this, [this] {
    sensor_.detach_all();
    // Nothing is counted any more; a kernel that cannot be asked has told what was closed.
    sensor_.sweep_files(true);
  });
  Ref();
  napi_add_env_cleanup_hook(env, on_env_cleanup, this);
  if (Failure failure = reader_->start(sensor_.ring_fd())) {
    leave_running(env);
    reader_.reset();
    throw_failure(env, failure);
  }
  return env.Undefined();
}

bool SensorWrap::create_function(Napi::Env env, Napi::Function on_batch) {
  Napi::String name = Napi::String::New(env, "oisp_native.onBatch");
  napi_status status = napi_create_threadsafe_function(env, on_batch, nullptr, name, 0, 1, nullptr, nullptr, this, call_js, &function_);
  if (status == napi_ok) return true;
  throw_failure(env, {ENOMEM, "start: thread-safe function: " + std::to_string(status), {}});
  return false;
}

Napi::Value SensorWrap::credit(const Napi::CallbackInfo& info) {
  uint32_t shard = info[0].As<Napi::Number>().Uint32Value();
  if (!reader_ || shard >= options_.shards) return info.Env().Undefined();
  if (info[2].IsNumber()) reader_->pool().give_slot(static_cast<size_t>(info[2].As<Napi::Number>().Int64Value()));
  reader_->credit(shard, static_cast<size_t>(info[1].As<Napi::Number>().Int64Value()));
  return info.Env().Undefined();
}

Napi::Object SensorWrap::ring_stats(Napi::Env env) const {
  static const ReaderCounters kNone;
  const ReaderCounters& counters = reader_ ? reader_->counters() : kNone;
  Napi::Object ring = Napi::Object::New(env);
  ring.Set("records", number(env, counters.records));
  ring.Set("bytes", number(env, counters.bytes));
  ring.Set("payloadBytes", number(env, counters.payload_bytes));
  ring.Set("stalls", number(env, counters.stalls));
  ring.Set("wakeups", number(env, counters.wakeups));
  ring.Set("pendingBytes", number(env, reader_ ? reader_->pending_bytes() : 0));
  ring.Set("sizeBytes", number(env, options_.ring_bytes));
  ring.Set("malformed", number(env, counters.malformed));
  return ring;
}

Napi::Object SensorWrap::batch_stats(Napi::Env env) const {
  static const ReaderCounters kNone;
  const ReaderCounters& counters = reader_ ? reader_->counters() : kNone;
  Napi::Array in_flight = Napi::Array::New(env, options_.shards);
  for (uint32_t shard = 0; shard < options_.shards; shard++) in_flight.Set(shard, number(env, reader_ ? reader_->in_flight(shard) : 0));
  Napi::Object batches = Napi::Object::New(env);
  batches.Set("count", number(env, counters.batches));
  batches.Set("bytes", number(env, counters.batch_bytes));
  batches.Set("records", number(env, counters.batch_records));
  batches.Set("payloadBytes", number(env, counters.batch_payload_bytes));
  batches.Set("inFlightBytes", in_flight);
  return batches;
}

Napi::Value SensorWrap::stats(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  // Downstream first, for the same reason as in Sensor::ledger(): what has arrived was sent before.
  Napi::Object batches = batch_stats(env);
  Napi::Object ring = ring_stats(env);
  auto ledger = sensor_.ledger();
  Napi::Array kernel = Napi::Array::New(env, ledger.size());
  for (size_t i = 0; i < ledger.size(); i++) {
    Napi::Object cell = Napi::Object::New(env);
    cell.Set("records", number(env, ledger[i].records));
    cell.Set("bytes", number(env, ledger[i].bytes));
    kernel.Set(static_cast<uint32_t>(i), cell);
  }
  Napi::Object result = Napi::Object::New(env);
  result.Set("kernel", kernel);
  result.Set("ring", ring);
  result.Set("batches", batches);
  result.Set("links", number(env, sensor_.link_count()));
  std::vector<Sensor::Shed> all = sensor_.shed();
  Napi::Array shed = Napi::Array::New(env, all.size());
  for (size_t i = 0; i < all.size(); i++) {
    Napi::Object row = Napi::Object::New(env);
    row.Set("tgid", number(env, all[i].tgid));
    row.Set("calls", number(env, all[i].calls));
    row.Set("bytes", number(env, all[i].bytes));
    shed.Set(static_cast<uint32_t>(i), row);
  }
  result.Set("shed", shed);
  return result;
}

Napi::Value SensorWrap::stop(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Napi::Function on_done = info[0].As<Napi::Function>();
  if (!function_) {
    sensor_.detach_all();
    call_soon(env, on_done);
    return env.Undefined();
  }
  on_done_.push_back(Napi::Persistent(on_done));
  reader_->stop();
  return env.Undefined();
}

Napi::Value SensorWrap::close(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (function_) {
    end_thread();
    leave_running(env);
    tell_done(env);
  }
  // stats() stays readable: its last numbers are kept.
  if (reader_) reader_->release();
  sensor_.close();
  return env.Undefined();
}

void SensorWrap::deliver(std::unique_ptr<Batch> batch) {
  waiting_.fetch_add(1, std::memory_order_relaxed);
  send(new Item{std::move(batch)});
}

// Fails only while the environment is going away; then nobody is left to read the batch.
void SensorWrap::send(Item* item) {
  if (napi_call_threadsafe_function(function_, item, napi_tsfn_nonblocking) != napi_ok) delete item;
}

// env is null for what is still queued when the function or the environment ends; the object may be gone by then.
void SensorWrap::call_js(napi_env raw_env, napi_value on_batch, void* context, void* data) {
  std::unique_ptr<Item> item(static_cast<Item*>(data));
  if (!raw_env) return;
  Napi::Env env(raw_env);
  Napi::HandleScope scope(env);
  auto self = static_cast<SensorWrap*>(context);
  if (!self->function_) return;
  if (item->batch)
    self->pass_on(env, Napi::Function(env, on_batch), std::move(item->batch));
  else
    self->on_finished(env);
}

// A slot is lent until its credit comes. A buffer of the pool's own goes back at once; its copy belongs to JavaScript, which transfers it to a worker.
void SensorWrap::pass_on(Napi::Env env, Napi::Function on_batch, std::unique_ptr<Batch> batch) {
  waiting_.fetch_sub(1, std::memory_order_relaxed);
  Napi::Object told = Napi::Object::New(env);
  if (batch->slot) {
    told.Set("slot", number(env, *batch->slot));
  } else {
    Napi::ArrayBuffer copy = Napi::ArrayBuffer::New(env, batch->length);
    memcpy(copy.Data(), batch->bytes, batch->length);
    told.Set("buffer", copy);
  }
  told.Set("shard", number(env, batch->shard));
  told.Set("length", number(env, batch->length));
  told.Set("records", number(env, batch->records));
  told.Set("payloadBytes", number(env, batch->payload_bytes));
  told.Set("kinds", number(env, batch->kinds));
  told.Set("clockOffsetNs", Napi::BigInt::New(env, batch->clock_offset_ns));
  if (!batch->slot) reader_->pool().give(std::move(batch));
  on_batch.Call({told});
}

void SensorWrap::on_finished(Napi::Env env) {
  reader_->join();
  leave_running(env);
  tell_done(env);
}

// Without draining. After this nothing runs on the reader thread.
void SensorWrap::end_thread() {
  if (!reader_) return;
  reader_->abandon();
  reader_->join();
}

void SensorWrap::leave_running(Napi::Env env) {
  napi_release_threadsafe_function(std::exchange(function_, nullptr), napi_tsfn_abort);
  napi_remove_env_cleanup_hook(env, on_env_cleanup, this);
  Unref();
}

void SensorWrap::tell_done(Napi::Env env) {
  std::vector<Napi::FunctionReference> callbacks = std::move(on_done_);
  on_done_.clear();
  for (Napi::FunctionReference& callback : callbacks) call_soon(env, callback.Value());
}

Napi::Object init(Napi::Env env, Napi::Object exports) {
  exports.Set("Sensor", SensorWrap::define(env));
  exports.Set("libbpfVersion", Sensor::libbpf_version());
  exports.Set("releaseStartupMemory", Napi::Function::New(env, [](const Napi::CallbackInfo&) { release_startup_memory(); }, "releaseStartupMemory"));
  exports.Set("reducePrivileges", Napi::Function::New(env, reduce_privileges_of_process, "reducePrivileges"));
  return exports;
}

}  // namespace
}  // namespace oisp

namespace {
Napi::Object init_module(Napi::Env env, Napi::Object exports) { return oisp::init(env, exports); }
}  // namespace

NODE_API_MODULE(oisp_native, init_module)
