import { defineConfig } from "vitest/config";

const test = { testTimeout: 3_600_000, hookTimeout: 1_800_000, fileParallelism: false };
// What needs no platform runs on a machine without one.
const apart = "e2e/long/docker.test.ts";

export default defineConfig({
  test: {
    maxWorkers: 1,
    reporters: ["verbose"],
    projects: [
      { test: { ...test, name: "machine", include: [apart] } },
      {
        test: {
          ...test,
          name: "platform",
          include: ["e2e/long/*.test.ts"],
          exclude: [apart],
          globalSetup: "e2e/platform.ts",
        },
      },
    ],
  },
});
