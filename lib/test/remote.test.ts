import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { argocd, pinnedVersion } from "../modules.ts";
import { renderYaml } from "../render/kustomize.ts";
import { parseRemote, remotesIn, withLocalRemotes } from "../render/remote.ts";
import { checkout, readRepository } from "../repository.ts";

const base = "gitops/platform/argocd/base";
const pins = "bootstrap/embedded/modules/argocd/go.mod";

test("every remote resource in Git has the version that its go.mod pins", async () => {
  const found = [...(await readRepository(checkout))].flatMap(([file, text]) =>
    file.startsWith("gitops/") ? remotesIn(text).map((url) => ({ file, remote: parseRemote(url) })) : [],
  );
  expect(found.map(({ file }) => file).sort()).toEqual([
    `${base}/kustomization.yaml`,
    "gitops/platform/argocd/overlays/ha/kustomization.yaml",
  ]);
  for (const { file, remote } of found) {
    if (!remote) throw new Error(`${file} names nothing that is known`);
    const pinned = pinnedVersion(checkout, remote.module);
    const advice = `${file} has ${remote.version}, ${pins} has ${pinned}: change the line in ${file} (or the go.mod)`;
    expect(remote.version, advice).toBe(pinned);
  }
});

describe("a repository whose versions differ", () => {
  const copy = mkdtempSync(join(tmpdir(), "remote-"));
  afterAll(() => rmSync(copy, { recursive: true, force: true }));

  test("does not render, and says which line to change", async () => {
    for (const path of ["gitops/platform/argocd", dirname(pins)])
      cpSync(join(checkout, path), join(copy, path), { recursive: true });
    const file = join(copy, base, "kustomization.yaml");
    const text = readFileSync(file, "utf8");
    const pinned = pinnedVersion(checkout, argocd);
    expect(text).toContain(`/${pinned}/`);
    writeFileSync(file, text.replace(`/${pinned}/`, "/v0.0.1/"));
    const rendered = withLocalRemotes(copy, base, (_, directory) => renderYaml(directory));
    await expect(rendered).rejects.toThrow(
      `${base}/kustomization.yaml takes install.yaml at v0.0.1, but ${pins} pins ${pinned}: write ${pinned} in ${base}/kustomization.yaml`,
    );
  });
});

test("what has no remote resource is rendered where it stands", async () => {
  const seen = await withLocalRemotes(checkout, "gitops/root", async (root, directory) => [root, directory]);
  expect(seen).toEqual([checkout, join(checkout, "gitops/root")]);
});
