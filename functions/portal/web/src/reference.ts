// The API reference: Swagger UI draws `openapi.json` of the same stack, and calls nothing else.
import SwaggerUI from "swagger-ui-dist/swagger-ui-es-bundle.js";
import "swagger-ui-dist/swagger-ui.css";
import "../reference.css";

const root = document.documentElement;
const dark = matchMedia("(prefers-color-scheme: dark)");
const follow = (): void => {
  root.classList.toggle("dark-mode", dark.matches);
};
dark.addEventListener("change", follow);
follow();

const target = document.getElementById("reference");
if (target) {
  SwaggerUI({
    domNode: target,
    url: "openapi.json",
    deepLinking: true,
    docExpansion: "list",
    defaultModelsExpandDepth: 0,
    filter: true,
    validatorUrl: null,
    supportedSubmitMethods: ["get", "post", "patch", "put", "delete"],
    onComplete: () => target.setAttribute("data-is-drawn", ""),
  });
}
