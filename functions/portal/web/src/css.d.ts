// The bundler takes styles by import.
declare module "*.css";
