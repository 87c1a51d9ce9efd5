/** Doing what a `next:` line says, as a person pastes it into a shell. */
import { execa } from "execa";
import { expect } from "vitest";

/** What came of it. */
export interface Followed {
  exitCode: number | undefined;
  all: string;
}

/**
 * Runs the command of a `next:` line. What may be done instead stands in parentheses behind it: a shell refuses such a
 * line as a whole, so that whoever pastes it does nothing by half.
 */
export async function follow(
  next: string | undefined,
  { cwd, env = {} }: { cwd?: string; env?: Record<string, string | undefined> } = {},
): Promise<Followed> {
  const line = next ?? "";
  const [command = ""] = line.split(/ \(.*\)$/);
  expect(command).not.toBe("");
  if (command !== line) {
    const whole = await execa("sh", ["-n", "-c", line], { reject: false });
    expect(whole.exitCode).not.toBe(0);
  }
  const { exitCode, all } = await execa("sh", ["-c", command], {
    all: true,
    reject: false,
    ...(cwd === undefined ? {} : { cwd }),
    // A person writes in an editor, and reads page by page.
    env: { GIT_EDITOR: "true", GIT_PAGER: "cat", PAGER: "cat", ...env },
  });
  return { exitCode, all };
}
