/** Runs commands concurrently, keeps the output of each together, and makes a table of their times. */
import { execa } from "execa";

/** A command, and its name in the table. */
export interface Step {
  name: string;
  command: string[];
}

/** The result of a step. */
export interface Outcome extends Step {
  seconds: number;
  passed: boolean;
  output: string;
}

/**
 * Runs steps in the given order, up to `atOnce` at a time. A step that fails does not stop the others.
 * @param ended is called with each result when the step ends
 * @returns the results in the order of the steps
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

/** One line for each step: its name, its seconds, and whether it passed or which command repeats it. */
export const table = (outcomes: Outcome[]): string =>
  outcomes
    .map(({ name, seconds, passed, command }) => {
      const verdict = passed ? "passed" : `FAILED: ${command.join(" ")}`;
      return `${name.padEnd(14)} ${String(seconds).padStart(5)} s  ${verdict}\n`;
    })
    .join("");
