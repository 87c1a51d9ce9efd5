/** Runs each command of the archiver, and says how it ended. */
import type { Command } from "commander";
import { exitCode, Failure, reasonOf } from "../src/failure.ts";

/** Runs a command. An error goes to standard error, with what to do next, and sets the exit code. */
export async function run(program: Command): Promise<void> {
  // A fetch whose peer hung up without an answer does not keep the process alive: Node would exit silently with code 13.
  const alive = setInterval(() => {}, 60_000);
  try {
    await program.parseAsync();
  } catch (error) {
    console.error((error as { stderr?: string }).stderr || reasonOf(error));
    if (error instanceof Failure && error.next !== undefined) console.error(`next: ${error.next}`);
    process.exitCode = exitCode.failed;
  } finally {
    clearInterval(alive);
  }
}
