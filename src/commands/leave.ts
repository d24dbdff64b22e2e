/** After everything was stopped there is nothing left that could take longer. */
const EXIT_LIMIT_S = 2;

/**
 * Ends the process, whatever a stopped disk holds. exit(3) waits for every thread, also for those whose system call
 * does not come back, and no timer of ours runs meanwhile: only the kernel's alarm(2) ends such a process.
 */
export async function leave(code: number): Promise<never> {
  try {
    const { default: koffi } = await import('koffi');
    koffi.load(null).func('unsigned int alarm(unsigned int seconds)')(EXIT_LIMIT_S);
  } catch {
    // Another system, or no koffi: then whoever asked for the stop has to insist.
  }
  process.exit(code);
}
