/** Runs a command line. If it fails, this says what went wrong and what to do next, and sets the exit code. */
import { type Command, CommanderError } from "commander";
import { called } from "../../../lib/build.ts";
import { Failure } from "../../../lib/failure.ts";
import { note } from "../../../lib/progress.ts";
import { exitCodes, spelledOut, WrongUsage } from "./usage.ts";

/** Runs a program with this process's arguments and sets the exit code. */
export async function run(program: Command): Promise<void> {
  try {
    await program.parseAsync();
  } catch (error) {
    if (error instanceof CommanderError) {
      // Commander has printed its message or the help already.
      process.exitCode = error.exitCode === 0 ? 0 : exitCodes.usage;
    } else if (error instanceof WrongUsage) {
      note(`error: ${error.message}`);
      if (error.next) note(`next: ${called(error.next)}`);
      process.exitCode = exitCodes.usage;
    } else {
      // This shows the own words of a program that failed; a stack trace would only hide them.
      const { stderr, message } = error as Error & { stderr?: string };
      note((stderr || message).trim());
      if (error instanceof Failure && error.next) note(`next: ${called(spelledOut(error.next))}`);
      process.exitCode ||= exitCodes.failed;
    }
  }
}
