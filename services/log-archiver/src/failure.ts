/** Exit codes, which let a caller tell outcomes apart. */
export const exitCode = {
  /** Nothing was archived, printed or verified. */
  failed: 1,
  /** An archive was stored, but a pod or a node's store could not be read. */
  incomplete: 3,
  /** The command line or the environment is wrong (EX_USAGE of sysexits.h). */
  usage: 64,
} as const;

/** A failure that names the object, its state and, if there is one, the next command. */
export class Failure extends Error {
  override name = "Failure";
  readonly next: string | undefined;
  constructor(message: string, options: { next?: string; cause?: unknown } = {}) {
    super(message, { cause: options.cause });
    this.next = options.next;
  }
}

/** An error's message and those of its causes, on one line. */
export function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = (error as NodeJS.ErrnoException).code;
  const own = error.message || code || error.name;
  return error.cause === undefined ? own : `${own}: ${reasonOf(error.cause)}`;
}
