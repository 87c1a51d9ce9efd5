/** Orders test files: the slowest run first, so that no worker is left alone with one of them at the end. */
import type { TestSpecification } from "vitest/node";
import { BaseSequencer } from "vitest/node";

/** The slowest files, slowest first. vitest knows how long a file takes only after it ran in the same checkout. */
export const longest = [
  "tools/test/corpus.test.ts",
  "tools/test/layouts.test.ts",
  "bootstrap/existing/test/stages.test.ts",
  "tools/test/release.test.ts",
  "tools/test/deploy.test.ts",
  "tools/test/git-advice.test.ts",
  "tools/test/new-service.test.ts",
  "tools/test/registries.test.ts",
  "tools/test/git-configuration.test.ts",
  "tools/test/advice-followed.test.ts",
  "bootstrap/existing/test/mesh.test.ts",
  "tools/test/deploy-checkout.test.ts",
  "tools/test/promote.test.ts",
  "tools/monitoring/test/rules.test.ts",
  "tools/test/shapes.test.ts",
  "tools/test/release-kill.test.ts",
  "tools/test/git-memory.test.ts",
  "tools/test/cache.test.ts",
];

/** vitest's own order, but with the slowest files before all others. */
export class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const rank = ({ moduleId }: TestSpecification): number => {
      const at = longest.findIndex((file) => moduleId.endsWith(`/${file}`));
      return at < 0 ? longest.length : at;
    };
    return (await super.sort(files)).sort((a, b) => rank(a) - rank(b));
  }
}
