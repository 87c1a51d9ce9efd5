import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, describe, expect, it, vi } from "vitest";
import { checkout } from "../../../lib/repository.ts";
import { sweep } from "../../../lib/test/long.ts";

const directory = mkdtempSync(join(tmpdir(), "compiling-"));
afterAll(() => rmSync(directory, { recursive: true }));

// A process that has ended but was not waited for is a zombie.
const ended = (id: string): boolean =>
  !existsSync(`/proc/${id}`) || /^State:\tZ/m.test(readFileSync(`/proc/${id}/status`, "utf8"));

describe("compiling beside the stages", () => {
  const ends: [string, string, number][] = [
    ["is done", "stopCompiling();", 0],
    ["fails", "throw new Error('broken');", 1],
    ["exits", "process.exit(3);", 3],
  ];
  sweep(ends, 1)("leaves nothing behind where the run %s", async (_, end, code) => {
    const file = join(directory, `ids-${code}`);
    // This compiler starts another program, as Go does, and prints both process ids.
    const program = `const child = require("node:child_process").spawn("sleep", ["600"]);
      require("node:fs").writeFileSync(${JSON.stringify(file)}, process.pid + " " + child.pid);
      setInterval(() => {}, 1000);`;
    const script = `
      import { existsSync } from "node:fs";
      import { startCompiling, stopCompiling } from "./bootstrap/embedded/src/compiling.ts";
      startCompiling(["-e", ${JSON.stringify(program)}]);
      while (!existsSync(${JSON.stringify(file)})) await new Promise((done) => setTimeout(done, 50));
      ${end}`;
    const { exitCode } = await execa("node", ["--import", "tsx", "--input-type=module", "--eval", script], {
      cwd: checkout,
      env: { CACHE_DIR: join(directory, "cache") },
      reject: false,
    });
    expect(exitCode).toBe(code);
    const ids = readFileSync(file, "utf8").split(" ");
    expect(ids).toHaveLength(2);
    await vi.waitFor(() => expect(ids.filter((id) => !ended(id))).toEqual([]), { timeout: 20_000 });
  });

  it("starts nothing where everything is there", async () => {
    const script = `
      import { startCompiling } from "./bootstrap/embedded/src/compiling.ts";
      startCompiling(["-e", "setInterval(() => {}, 1000)"], []);`;
    const { exitCode } = await execa("node", ["--import", "tsx", "--input-type=module", "--eval", script], {
      cwd: checkout,
    });
    expect(exitCode).toBe(0);
  });
});
