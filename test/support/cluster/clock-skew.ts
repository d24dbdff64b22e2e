// Loaded in front of a node (`node --import`): its wall clock is off by so much. Timers and performance.now() are not,
// as they are not on a host whose clock is wrong; neither are certificates' times, which OpenSSL reads for itself.
const skewMs = Number(process.env.TEST_CLOCK_SKEW_MS ?? 0);
const RealDate = globalThis.Date;

globalThis.Date = new Proxy(RealDate, {
  construct: (target, args, newTarget) =>
    Reflect.construct(target, args.length === 0 ? [target.now() + skewMs] : args, newTarget) as object,
  apply: (target) => new target(target.now() + skewMs).toString(),
  get: (target, name, receiver) =>
    name === 'now' ? () => target.now() + skewMs : Reflect.get(target, name, receiver),
});
