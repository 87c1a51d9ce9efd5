import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    // A machine with other work can take half a minute to start one process.
    include: ["test/**/*.test.ts"],
    testTimeout: 240_000,
    hookTimeout: 240_000,
    expect: { poll: { timeout: 120_000 } },
  },
});
