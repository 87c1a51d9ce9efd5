import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["bootstrap/**/*.test.ts", "lib/**/*.test.ts", "tools/**/*.test.ts"],
    exclude: ["tools/templates/**", "**/node_modules/**"],
    testTimeout: 120_000,
    hookTimeout: 120_000,
  },
});
