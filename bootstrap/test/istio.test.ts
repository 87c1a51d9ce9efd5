import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { istio, istioTag, moduleSource, pinnedVersion } from "../../lib/modules.ts";
import { checkout, pinnedVersions } from "../../lib/repository.ts";

// The embedded cluster is built from a module, and an existing one gets a release. Both must have the same minor version.
describe("the module of Istio", async () => {
  const source = await moduleSource(checkout, istio);
  const pins = pinnedVersions(checkout);

  it("is of the minor version of the release in versions.yaml, and its images are named so", () => {
    const minor = readFileSync(join(source, "VERSION"), "utf8").trim();
    expect(pins.istio).toMatch(new RegExp(`^${minor.replace(".", "\\.")}\\.\\d+$`));
    expect(istioTag(pinnedVersion(checkout, istio))).toMatch(new RegExp(`^${minor}-alpha\\.[0-9a-f]{12}$`));
  });

  it("supports Kubernetes from the version on that versions.yaml names", () => {
    const text = readFileSync(join(source, "istioctl/pkg/install/k8sversion/version.go"), "utf8");
    const [, oldest] = /MinK8SVersion\s*=\s*(\d+)/.exec(text) ?? [];
    expect(pins["istio-kubernetes"]).toMatch(new RegExp(`^${oldest}-\\d\\d$`));
  });
});
