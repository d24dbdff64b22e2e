-- wrk: random, unaligned ranges of one blob. Arguments: size of the blob, length of a range, seed.
local size, length

function init(args)
  size, length = tonumber(args[1]), tonumber(args[2])
  math.randomseed(tonumber(args[3]))
end

function request()
  local start = math.random(0, size - length)
  return wrk.format("GET", nil, { ["Range"] = string.format("bytes=%d-%d", start, start + length - 1) })
end

function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '{"requests":%d,"bytes":%d,"errors":%d,"seconds":%f,"p50Us":%d,"p99Us":%d}\n',
    summary.requests, summary.bytes,
    errors.connect + errors.read + errors.write + errors.status + errors.timeout,
    summary.duration / 1e6, latency:percentile(50), latency:percentile(99)))
end
