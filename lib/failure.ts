/** Failures that people can act on, and waits that end in one. */

/** A failure with the command that shows more about it or repairs it. */
export class Failure extends Error {
  readonly next: string | undefined;
  constructor(message: string, next?: string) {
    super(message);
    this.next = next;
  }
}

/**
 * Polls until `probe` answers with undefined: soon at first, then twice a second. Its last answer is the reason that is
 * shown at the deadline.
 * The environment's WAIT_SECONDS overrides every deadline.
 * A probe that throws a FinalFailure ends the wait at once; any other error is a reason to go on.
 * @throws Failure naming `what`, the last reason and the next command
 */
export async function until(
  what: string,
  seconds: number,
  probe: () => Promise<string | undefined>,
  next?: string,
): Promise<void> {
  const limit = Number(process.env.WAIT_SECONDS ?? seconds);
  const deadline = Date.now() + limit * 1000;
  // A fetch whose peer hung up without an answer does not keep the process alive: Node would exit silently with code 13.
  const alive = setInterval(() => {}, 60_000);
  try {
    for (let pause = 50; ; pause = Math.min(2 * pause, 500)) {
      let reason: string | undefined;
      try {
        reason = await probe();
      } catch (error) {
        if (error instanceof FinalFailure) throw error;
        reason = error instanceof Error ? error.message : String(error);
      }
      if (reason === undefined) return;
      if (Date.now() > deadline) throw new Failure(`${what}: ${reason} (waited ${limit} s)`, next);
      // This is not from node:timers/promises, because tests set this clock.
      await new Promise((done) => setTimeout(done, pause));
    }
  } finally {
    clearInterval(alive);
  }
}

/** A failure for which waiting longer does not help. */
export class FinalFailure extends Failure {}
