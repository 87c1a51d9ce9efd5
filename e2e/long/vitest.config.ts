import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["e2e/long/*.test.ts"],
    globalSetup: "e2e/platform.ts",
    fileParallelism: false,
    maxWorkers: 1,
    testTimeout: 3_600_000,
    hookTimeout: 1_800_000,
    reporters: ["verbose"],
  },
});
