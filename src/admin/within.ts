/** @returns undefined when `ms` passed before the promise settled; it goes on. */
export async function within<T>(promise: Promise<T>, ms: number): Promise<T | undefined> {
  const tick = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => tick.resolve(undefined), ms);
  try {
    return await Promise.race([promise, tick.promise]);
  } finally {
    clearTimeout(timer);
  }
}
