// The module's own configuration without its licence plugin, which needs a second bundler.
import react from "@vitejs/plugin-react";
import { defineConfig } from "vite";

export default defineConfig({
  base: "",
  plugins: [react()],
  build: { license: { fileName: "assets/third-party-licenses.md" }, chunkSizeWarningLimit: 4096 },
});
