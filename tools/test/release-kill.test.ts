// @module-tag slow
import { chmodSync, existsSync, mkdirSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, expect, test } from "vitest";
import { until } from "../../lib/failure.ts";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";
import { amount } from "../../lib/test/long.ts";
import { type Clone, kustomization, Shop } from "./shop.ts";

// In the place of git and of the builder stands a script that kills its parent at the step it is told.
// Some calls run side by side: each takes a number by making its directory, which only one of them can.
const killer = (program: string, steps: string, done: string): string => `#!/bin/sh
step=1
until mkdir ${steps}/$step 2>/dev/null; do step=$((step + 1)); done
if [ $step = "$KILL_AT" ]; then
  kill -9 $PPID
  if [ "$GOES_ON" ]; then ${program} "$@"; fi
  touch ${done}
  exit
fi
exec ${program} "$@"
`;

const program = await bundle(join(checkout, "tools/test/release-process.ts"));

let shop: Shop;
let clone: Clone;
beforeEach(async () => {
  shop = await Shop.open();
  clone = await shop.clone("clone");
  // Somebody else has pushed, so that there is something to rebase on.
  const other = await shop.clone("other");
  await other.change("theirs\n", "theirs.ts");
  await other.git.run("push", "--quiet", "origin", "HEAD:main");
});
afterEach(() => shop.close());

/** Holds one directory for each step of the run that is under way. */
const stepsTaken = (): string => join(shop.directory, "steps");
/** Where the processes keep what is temporary. */
const temporary = (): string => join(shop.directory, "tmp");
const done = (): string => join(shop.directory, "done");

/** Runs a release that is killed at a step; without one it runs to its end. */
async function run(killAt?: number, goesOn = false): Promise<{ failed: boolean; stderr: string }> {
  const bin = join(shop.directory, "bin");
  mkdirSync(bin, { recursive: true });
  mkdirSync(temporary(), { recursive: true });
  rmSync(stepsTaken(), { recursive: true, force: true });
  mkdirSync(stepsTaken());
  for (const name of ["git", "builder"]) {
    const real = name === "git" ? (await execa("sh", ["-c", "command -v git"])).stdout : shop.builder;
    writeFileSync(join(bin, name), killer(real, stepsTaken(), done()));
    chmodSync(join(bin, name), 0o755);
  }
  const { failed, stderr } = await execa("node", [program, clone.directory], {
    cwd: checkout,
    env: {
      TMPDIR: temporary(),
      PATH: `${bin}:${process.env.PATH}`,
      IMAGE_BUILDER: join(bin, "builder"),
      KILL_AT: String(killAt ?? 0),
      GOES_ON: goesOn ? "1" : "",
    },
    reject: false,
  });
  return { failed, stderr };
}

async function expectReleased(): Promise<void> {
  const tree = (await shop.bare.run("rev-parse", "main:services/cart")).slice(0, 12);
  expect(await shop.remote(kustomization)).toContain(`newTag: "${tree}"`);
  const subjects = (await shop.bare.run("log", "--format=%s", "main")).split("\n");
  expect(subjects.filter((subject) => subject.startsWith("deploy("))).toEqual([`deploy(cart): ${tree}`]);
  expect(subjects.filter((subject) => subject === "feat(cart): ours")).toHaveLength(1);
  expect(await clone.git.run("rev-parse", "HEAD")).toBe(await shop.bare.run("rev-parse", "main"));
  expect(await clone.git.run("status", "--porcelain")).toBe(" M notes.txt");
  expect(clone.read("notes.txt")).toBe("mine\n");
  expect(readdirSync(temporary())).toEqual([]);
  expect((await clone.git.run("worktree", "list")).split("\n")).toHaveLength(1);
}

// Of both ways together every second step, of each every one in `npm run test:long`.
const stride = amount(4, 1);
const ways = [
  ["step after step, which ended with it", false, 1, stride],
  ["step after step, which went on without it", true, amount(3, 1), stride],
] as const;
test.each(ways)(
  "killed at %s, the next run completes the release",
  async (_, goesOn, firstStep, stride) => {
    await clone.change("ours\n", "ours.ts");
    clone.write("notes.txt", "mine\n");
    const start = await clone.git.run("rev-parse", "HEAD");
    const before = await shop.bare.run("rev-parse", "main");
    let steps = 0;
    for (let step = firstStep; ; step += stride) {
      const { failed, stderr } = await run(step, goesOn);
      if (!failed) {
        steps = readdirSync(stepsTaken()).length;
        // The one before was a step of the release, and this one is behind its last.
        expect(steps).toBeLessThan(step);
        expect(steps).toBeGreaterThanOrEqual(step - stride);
        break;
      }
      expect(existsSync(done()) || stderr === "", stderr).toBe(true);
      await until("the step that was under way", 30, async () => (existsSync(done()) ? undefined : "runs"));
      writeFileSync(done(), "");
      const next = await run();
      expect(next.stderr.split("\n").filter((line) => /fatal|error/i.test(line))).toEqual([]);
      expect(next.failed, `after step ${step}`).toBe(false);
      await expectReleased();
      // Back to where the release began, for the next step.
      await shop.bare.run("update-ref", "refs/heads/main", before);
      await clone.git.run("reset", "--quiet", "--keep", start);
      await execa("rm", ["-f", done()]);
    }
    expect(steps).toBeGreaterThan(15);
  },
  900_000,
);
