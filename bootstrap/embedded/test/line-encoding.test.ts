// @module-tag slow
/** The collector's encoding of ours writes what the collector's own encoding writes: its tests in Go. */
import { join } from "node:path";
import { execa } from "execa";
import { expect, it } from "vitest";
import { goEnvironment } from "../../../lib/modules.ts";

it("passes its tests", { timeout: 900_000 }, async () => {
  const { exitCode, all } = await execa("go", ["test", "-count=1", "./lineencoding"], {
    cwd: join(import.meta.dirname, "../modules/opentelemetry-collector"),
    env: goEnvironment(),
    all: true,
    reject: false,
  });
  expect(exitCode, all).toBe(0);
  expect(all).toMatch(/^ok\s+logging-platform\/opentelemetry-collector\/lineencoding\s/m);
});
