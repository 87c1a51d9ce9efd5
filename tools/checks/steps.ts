/** Commands that run side by side, each with its output in one piece, and a table of what they took. */
import { execa } from "execa";

/** A command, by the name that the table shows. */
export interface Step {
  name: string;
  command: string[];
}

/** What became of a step. */
export interface Outcome extends Step {
  seconds: number;
  passed: boolean;
  output: string;
}

/**
 * Runs steps, so many at a time, in the order given; one that fails stops no other.
 * @param ended is told of each as it ends
 * @returns what became of each, in the order given
 */
export async function runSteps(
  steps: Step[],
  atOnce: number,
  cwd: string,
  ended: (outcome: Outcome) => void,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let next = 0;
  const lane = async (): Promise<void> => {
    for (let at = next++; at < steps.length; at = next++) {
      const step = steps[at] as Step;
      const [program = "", ...args] = step.command;
      const started = performance.now();
      const options = { cwd, reject: false, all: true, stdin: "ignore", maxBuffer: 1e9 } as const;
      const { failed, all, shortMessage } = await execa(program, args, options);
      const seconds = Math.round((performance.now() - started) / 1000);
      const output = all || (failed ? (shortMessage ?? "") : "");
      const outcome = { ...step, seconds, passed: !failed, output };
      outcomes[at] = outcome;
      ended(outcome);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return outcomes;
}

/** A line for each step: its name, its seconds, whether it passed, and the command that runs it alone if it did not. */
export const table = (outcomes: Outcome[]): string =>
  outcomes
    .map(({ name, seconds, passed, command }) => {
      const verdict = passed ? "passed" : `FAILED: ${command.join(" ")}`;
      return `${name.padEnd(14)} ${String(seconds).padStart(5)} s  ${verdict}\n`;
    })
    .join("");
