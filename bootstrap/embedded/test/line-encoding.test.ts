// @module-tag slow
/** Runs the Go tests of our encoding for the collector, which must write the same as the collector's own encoding. */
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
