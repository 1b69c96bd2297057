// The bundler takes styles by import.
declare module "*.css";

// The options of the API viewer that are set here; the package has no types.
declare module "swagger-ui-dist/swagger-ui-es-bundle.js" {
  export default function SwaggerUI(options: {
    domNode: Element;
    url: string;
    deepLinking: boolean;
    docExpansion: "list" | "full" | "none";
    defaultModelsExpandDepth: number;
    filter: boolean;
    validatorUrl: null;
    supportedSubmitMethods: string[];
    onComplete: () => void;
  }): unknown;
}
